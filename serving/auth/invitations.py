"""Invitations: what lets somebody set a password of their own, once, who has none yet or has forgotten theirs.

Made by the server and told to who manages users, who hands it on. It is good for nothing else, ends soon, and each user
has one at most: a newer one takes the place of the one before. A password that there is stays good until it is used.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.audit.acting import known_as
from serving.auth import opaque, users
from serving.auth.passwords import Passwords
from serving.db.accounts import Invitation, User
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.errors import Unauthenticated


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation, shown this once."""

    shown: str
    expires_at: datetime


async def invite(session: AsyncSession, secret: bytes, user: User, lasts_s: int) -> Invited:
    """Make one for a user, good for so many seconds. `secret`: what digests are keyed with, see `opaque.digest`."""
    shown = opaque.new_invitation()
    values = {
        "user_id": user.id,
        "tenant_id": user.tenant_id,
        "digest": opaque.digest(secret, shown),
        "expires_at": func.now() + timedelta(seconds=lasts_s),
    }
    instead = {name: values[name] for name in ("digest", "expires_at")} | {"created_at": func.now()}
    made = insert(Invitation).values(values).on_conflict_do_update(index_elements=["user_id"], set_=instead)
    expires_at = (await execute(session, made.returning(col(Invitation.expires_at)))).scalar_one()
    return Invited(shown, expires_at)


class Invitations:
    """Takes invitations."""

    def __init__(self, database: Database, secret: bytes, passwords: Passwords) -> None:
        """`secret`: as `invite`."""
        self._database = database
        self._secret = secret
        self._passwords = passwords

    async def accept(self, invitation: str, password: str) -> None:
        """Set the password of whom it was made for, which ends their sessions and the invitation.

        Raises:
            Unauthenticated: it is none, was used, its time is over, or its user is disabled: always alike.
            InvalidRequest, WeakPassword: the password cannot be one; the invitation stays good.
            RateLimited: too many are being hashed.
        """
        digest = opaque.digest(self._secret, invitation)
        async with self._database.read(SYSTEM) as session:
            user = await _invited(session, digest)
            about = await users.known_about(session, user.tenant_id, user.email, user.name)
        hashed = await self._passwords.chosen(password, about)
        known_as(user.id, user.id)
        async with self._database.write("user.write", user.tenant_id) as session:
            # Locked, and looked for once more: of two at once, one is too late.
            user = await users.found(session, user.tenant_id, user.id, locked=True)
            await _invited(session, digest)
            await users.set_password(session, user, hashed)
            await users.written(session, user)


async def _invited(session: AsyncSession, digest: bytes) -> User:
    query = (
        select(User)
        .join(Invitation, col(Invitation.user_id) == col(User.id))
        .where(Invitation.digest == digest, col(Invitation.expires_at) > func.now(), col(User.disabled_at).is_(None))
    )
    user = (await session.exec(query)).one_or_none()
    if user is None:
        raise Unauthenticated("the invitation is not good any more; ask who gave it for another one")
    return user
