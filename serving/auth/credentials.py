"""Recognises who asks, whatever they show: an API key, an access token, a ticket.

What the database says is remembered for less than a second, and in one place for all of them: a key that was revoked,
a person who was disabled or has another role, a session that was ended is felt at every process within that second.
"""

import asyncio
import dataclasses
import time
from typing import Final

from sqlalchemy import ColumnElement, func, or_
from sqlmodel import col, select

from serving.auth import opaque
from serving.auth.principals import ROLES, Principal
from serving.auth.tokens import Tokens
from serving.db.accounts import ApiKey, User, UserSession
from serving.db.database import SYSTEM, Database

#: For how long a credential that was found good is taken for good, seconds.
TRUSTED_S: Final = 0.8

#: Credentials that are remembered at most, per process.
_MAX_REMEMBERED: Final = 10_000

#: All that a ticket for events is good for.
_TICKET_SCOPES: Final = frozenset({"jobs:read"})


class Credentials:
    """Recognises who asks."""

    def __init__(self, database: Database, secret: bytes, tokens: Tokens) -> None:
        """`secret`: what digests are keyed with, see `opaque.digest`."""
        self._database = database
        self._secret = secret
        self._tokens = tokens
        self._known: dict[bytes | str, tuple[float, Principal | None]] = {}
        self._digests: dict[str, bytes] = {}
        self._asking: dict[bytes | str, asyncio.Future[Principal | None]] = {}

    async def principal(self, shown: str) -> Principal | None:
        """Whose API key or access token it is; None where it is nobody's, or no longer good."""
        if shown.startswith(opaque.KEY_PREFIX):
            return await self._remembered(self._digest(shown))
        access = self._tokens.read_access(shown)
        if access is None:
            return None
        found = await self._remembered(access.session_id)
        # What it says is signed, and still only what the database says counts.
        return (
            found
            if found is not None and (found.tenant_id, found.actor) == (access.tenant_id, access.user_id)
            else None
        )

    async def current(self, principal: Principal) -> Principal | None:
        """The same one as they are now; None where the credential that they were recognised by is no longer good."""
        return await self._remembered(principal.credential)

    async def ticket(self, shown: str, job_id: str) -> Principal | None:
        """Whoever asked for the ticket, and may do nothing but read jobs; None where it is none for the events of this
        job, or what it was asked for with is no longer good."""
        ticket = self._tokens.read_ticket(shown)
        if ticket is None or ticket.job_id != job_id:
            return None
        found = await self._remembered(ticket.credential)
        if found is None or found.tenant_id != ticket.tenant_id:
            return None
        return dataclasses.replace(found, scopes=found.scopes & _TICKET_SCOPES)

    def _digest(self, key: str) -> bytes:
        """As `opaque.digest`; computed once for keys that come again and again, which takes a tenth of a read by id."""
        digest = self._digests.get(key)
        if digest is None:
            if len(self._digests) >= _MAX_REMEMBERED:
                self._digests.clear()
            digest = self._digests[key] = opaque.digest(self._secret, key)
        return digest

    async def _remembered(self, name: bytes | str) -> Principal | None:
        known = self._known.get(name)
        if known is not None and time.monotonic() - known[0] < TRUSTED_S:
            return known[1]
        asking = self._asking.get(name)
        if asking is None:
            # Of many requests at once, one asks for all.
            asking = self._asking[name] = asyncio.ensure_future(self._look_up(name))
            asking.add_done_callback(lambda _: self._asking.pop(name, None))
        return await asyncio.shield(asking)

    async def _look_up(self, name: bytes | str) -> Principal | None:
        asked = time.monotonic()
        if isinstance(name, bytes):
            principal = await self._key(col(ApiKey.digest) == name)
        elif name.startswith("key_"):
            principal = await self._key(col(ApiKey.id) == name)
        else:
            principal = await self._person(name)
        if len(self._known) >= _MAX_REMEMBERED:
            self._known.clear()
        # Counted from before the question: what was revoked since then is not yet in the answer.
        self._known[name] = asked, principal
        return principal

    async def _key(self, which: ColumnElement[bool]) -> Principal | None:
        expires = col(ApiKey.expires_at)
        query = select(ApiKey).where(
            which, col(ApiKey.revoked_at).is_(None), or_(expires.is_(None), expires > func.now())
        )
        async with self._database.read(SYSTEM) as session:
            key = (await session.exec(query)).one_or_none()
        if key is None:
            return None
        return Principal(tenant_id=key.tenant_id, actor=key.id, scopes=frozenset(key.scopes), credential=key.id)

    async def _person(self, session_id: str) -> Principal | None:
        query = (
            select(User)
            .join(UserSession, col(UserSession.user_id) == col(User.id))
            .where(
                UserSession.id == session_id,
                col(UserSession.revoked_at).is_(None),
                col(UserSession.expires_at) > func.now(),
                col(User.disabled_at).is_(None),
            )
        )
        async with self._database.read(SYSTEM) as session:
            user = (await session.exec(query)).one_or_none()
        if user is None:
            return None
        return Principal(tenant_id=user.tenant_id, actor=user.id, scopes=ROLES[user.role], credential=session_id)
