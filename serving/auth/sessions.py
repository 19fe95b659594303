"""Sessions: begun with a password, gone on with by refresh tokens, each of which is good once.

A refresh token that comes twice was copied by somebody, and nobody knows which of the two is whom they say: the whole
session ends (RFC 9700, 4.14; decision 11).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, func, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.audit.acting import known_as
from serving.auth import opaque, tenants
from serving.auth.ending import ending
from serving.auth.passwords import Passwords
from serving.auth.tokens import Access, Tokens
from serving.db.accounts import RefreshToken, User, UserSession
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.errors import Unauthenticated
from serving.ids import new_id
from serving.options import AuthOptions

#: Sessions of one user that are kept, those that are over included; the one that was not used for longest goes first.
MAX_SESSIONS: Final = 100

_FORGET = text(
    """
    DELETE FROM session WHERE tenant_id = :tenant AND user_id = :user AND (
        expires_at <= now() OR revoked_at <= now() - interval '30 days' OR id IN (
            SELECT id FROM session WHERE tenant_id = :tenant AND user_id = :user
            ORDER BY revoked_at IS NULL DESC, used_at DESC OFFSET :kept
        )
    )
    """
)


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who wants to sign in, whether there is such a user or not."""

    name: str
    """The same for whoever means the same account; attempts are counted by it."""
    user: User | None


@dataclass(frozen=True, slots=True)
class Issued:
    """What a session gives to go on with."""

    session_id: str
    access_token: str
    access_s: int
    """Seconds that it is good for."""
    refresh_token: str
    refresh_expires_at: datetime


class _Reused(Exception):
    """A refresh token came that was used before."""

    def __init__(self, user_id: str) -> None:
        super().__init__(user_id)
        self.user_id = user_id


class Sessions:
    """Begins sessions, goes on with them, and ends them."""

    def __init__(
        self, database: Database, secret: bytes, tokens: Tokens, passwords: Passwords, options: AuthOptions
    ) -> None:
        """`secret`: what digests are keyed with, see `opaque.digest`."""
        self._database = database
        self._secret = secret
        self._tokens = tokens
        self._passwords = passwords
        self._options = options

    async def account(self, email: str, tenant: str | None) -> Account:
        """Whom an email address means, in lower case; without a tenant's id, in the only one that there is."""
        async with self._database.read(SYSTEM) as session:
            of = await tenants.resolved(session, tenant)
            user = (await session.exec(select(User).where(User.tenant_id == of, User.email == email))).one_or_none()
        return Account(opaque.digest(self._secret, f"{of}/{email}").hex(), user)

    async def sign_in(self, account: Account, password: str) -> Issued:
        """Begin a session.

        Raises:
            Unauthenticated: there is no such account, it is disabled, or the password is another: always alike, and
                after as long.
            RateLimited: too many sign in just now.
        """
        kept = None if account.user is None else account.user.password_hash
        good = await self._passwords.verified(kept, password)
        if not good or account.user is None or kept is None or account.user.disabled_at is not None:
            raise Unauthenticated("the tenant, the email or the password is wrong, or the account is disabled")
        new_hash = await self._passwords.hashed(password) if self._passwords.outdated(kept) else kept
        async with self._database.write("session.create", account.user.tenant_id) as session:
            return await self._begun(session, account.user, new_hash)

    async def refresh(self, refresh_token: str) -> Issued:
        """Go on with a session: another refresh token, and another access token.

        Raises:
            Unauthenticated: the token is none, or its time or that of its session is over; or it was used before, which
                has ended its session now.
        """
        digest = opaque.digest(self._secret, refresh_token)
        family = await self._family(digest)
        issued = None
        if family is not None:
            tenant, session_id = family
            known_as(None, session_id)
            try:
                async with self._database.write("session.refresh", tenant) as session:
                    issued = await self._gone_on(session, tenant, session_id, digest)
            except _Reused as reused:
                await self._end_reused(tenant, reused.user_id, session_id)
        if issued is None:
            raise Unauthenticated("the refresh token is not good any more; sign in again")
        return issued

    async def end(self, refresh_token: str) -> None:
        """End the session of a refresh token, whether it was used or not. Of none, nothing happens."""
        family = await self._family(opaque.digest(self._secret, refresh_token))
        if family is not None:
            tenant, session_id = family
            known_as(None, session_id)
            async with self._database.write("session.end", tenant) as session:
                await session.exec(ending(tenant, "signed out").where(col(UserSession.id) == session_id))

    async def _begun(self, session: AsyncSession, user: User, new_hash: str) -> Issued:
        query = select(User).where(User.tenant_id == user.tenant_id, User.id == user.id)
        # Against who changes the password meanwhile, which ends all sessions that there are.
        now = (await session.exec(query.with_for_update(key_share=True))).one_or_none()
        if now is None or now.password_hash != user.password_hash or now.disabled_at is not None:
            raise Unauthenticated("the account was changed just now; sign in again")
        now.password_hash = new_hash
        session.add(now)
        await execute(session, _FORGET, tenant=user.tenant_id, user=user.id, kept=MAX_SESSIONS - 1)
        begun = UserSession(
            id=new_id("ses"),
            tenant_id=user.tenant_id,
            user_id=user.id,
            expires_at=_after(self._options.session_s),
        )
        session.add(begun)
        await session.flush()
        return await self._issued(session, begun)

    async def _gone_on(self, session: AsyncSession, tenant: str, session_id: str, digest: bytes) -> Issued | None:
        # Whoever has the lock sees in the next statement what those before have done with the token.
        mine = (UserSession.tenant_id == tenant, UserSession.id == session_id)
        locked = select(UserSession, col(UserSession.expires_at) <= func.now()).where(*mine).with_for_update()
        found = (await session.exec(locked)).one_or_none()
        if found is None or found[1] or found[0].revoked_at is not None:
            return None
        shown = select(RefreshToken, col(RefreshToken.expires_at) <= func.now()).where(
            RefreshToken.tenant_id == tenant, RefreshToken.digest == digest
        )
        token, expired = (await session.exec(shown)).one_or_none() or (None, True)
        if token is None:
            # Its time was over, and it was tidied up since it was looked for.
            return None
        if token.used_at is not None:
            raise _Reused(found[0].user_id)
        theirs = select(User).where(User.tenant_id == tenant, User.id == found[0].user_id)
        user = (await session.exec(theirs)).one_or_none()
        if expired or user is None or user.disabled_at is not None:
            return None
        token.used_at = text("now()")  # type: ignore[assignment]
        found[0].used_at = text("now()")  # type: ignore[assignment]
        session.add_all((token, found[0]))
        await session.flush()
        # One that is expired is refused with or without its row.
        of_it = (col(RefreshToken.tenant_id) == tenant, col(RefreshToken.session_id) == session_id)
        await session.exec(delete(RefreshToken).where(*of_it, col(RefreshToken.expires_at) <= func.now()))
        return await self._issued(session, found[0])

    async def _end_reused(self, tenant: str, user_id: str, session_id: str) -> None:
        """End a session of which a token was shown twice; under a name of its own, for whoever reads the audit log."""
        known_as(user_id, session_id)
        async with self._database.write("session.reused", tenant) as session:
            await session.exec(
                ending(tenant, "a refresh token was used twice").where(col(UserSession.id) == session_id)
            )

    async def _issued(self, session: AsyncSession, begun: UserSession) -> Issued:
        known_as(begun.user_id, begun.id)
        shown = opaque.new_refresh_token()
        ends = select(UserSession.expires_at).where(UserSession.id == begun.id).scalar_subquery()
        row = RefreshToken(
            digest=opaque.digest(self._secret, shown),
            tenant_id=begun.tenant_id,
            session_id=begun.id,
            expires_at=func.least(_after(self._options.refresh_s), ends),  # type: ignore[arg-type]
        )
        session.add(row)
        await session.flush()
        await session.refresh(row)
        access = Access(tenant_id=begun.tenant_id, user_id=begun.user_id, session_id=begun.id)
        token, access_s = self._tokens.access(access)
        return Issued(begun.id, token, access_s, shown, row.expires_at)

    async def _family(self, digest: bytes) -> tuple[str, str] | None:
        """Tenant and session of a refresh token, used or not."""
        query = select(RefreshToken.tenant_id, RefreshToken.session_id).where(RefreshToken.digest == digest)
        async with self._database.read(SYSTEM) as session:
            return (await session.exec(query)).one_or_none()


def _after(seconds: int) -> Any:
    """So long from now, by the database's clock."""
    return func.now() + timedelta(seconds=seconds)
