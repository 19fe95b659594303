"""Recognises who asks, whatever they show: an API key, an access token, a ticket.

What the database says is remembered for less than a second, and in one place for all of them: a key that was revoked,
a person who was disabled or has another role, a session that was ended is felt at every process within that second.

What strangers show is remembered apart from what is good, and never longer than its digest: whatever they send, they
neither fill the memory nor have others asked about anew.
"""

import asyncio
import dataclasses
import time
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import ColumnElement, func, or_
from sqlmodel import col, select

from serving.auth import opaque
from serving.auth.principals import ROLES, Principal
from serving.auth.tokens import Tokens
from serving.db.accounts import ApiKey, User, UserSession
from serving.db.database import SYSTEM, Database

#: For how long a credential that was found good is taken for good, seconds.
TRUSTED_S: Final = 0.8

#: Credentials that are remembered at most, per process: good ones, and as many others.
_MAX_REMEMBERED: Final = 10_000

#: The longest token that is looked at, characters; ours have about 400.
_MAX_TOKEN_CHARS: Final = 2048

#: All that a ticket for events is good for.
_TICKET_SCOPES: Final = frozenset({"jobs:read"})


class Credentials:
    """Recognises who asks."""

    def __init__(self, database: Database, secret: bytes, tokens: Tokens) -> None:
        """`secret`: what digests are keyed with, see `opaque.digest`."""
        self._database = database
        self._secret = secret
        self._tokens = tokens
        self._known: dict[bytes | str, tuple[float, Principal]] = {}
        self._nobody: dict[bytes | str, float] = {}
        self._digests: dict[str, bytes] = {}
        self._asking: dict[bytes | str, asyncio.Future[Principal | None]] = {}

    async def principal(self, shown: str, before_asking: Callable[[], None] | None = None) -> Principal | None:
        """Whose API key or access token it is; None where it is nobody's, or no longer good.

        Args:
            before_asking: called before the database is asked about a key that was never found good here. What it
                raises is raised.
        """
        if shown.startswith(opaque.KEY_PREFIX):
            return await self._by_key(shown, before_asking)
        if len(shown) > _MAX_TOKEN_CHARS:
            return None
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
        ticket = self._tokens.read_ticket(shown) if len(shown) <= _MAX_TOKEN_CHARS else None
        if ticket is None or ticket.job_id != job_id:
            return None
        return await self.behind(ticket.tenant_id, ticket.credential, _TICKET_SCOPES)

    async def behind(self, tenant: str, credential: str, scopes: frozenset[str]) -> Principal | None:
        """Whoever asked for something signed, who may do no more than that: none of these scopes that they have not
        got. None where the credential that they asked with is no longer good. `credential`: its id."""
        found = await self._remembered(credential)
        if found is None or found.tenant_id != tenant:
            return None
        return dataclasses.replace(found, scopes=found.scopes & scopes)

    async def _by_key(self, key: str, before_asking: Callable[[], None] | None) -> Principal | None:
        if len(key) != opaque.KEY_CHARS:
            return None
        # Computed once for good keys that come again and again, which takes a tenth of a read by id.
        digest = self._digests.get(key)
        if digest is not None:
            return await self._remembered(digest)
        digest = opaque.digest(self._secret, key)
        if before_asking is not None and self._recently(digest) is None:
            before_asking()
        found = await self._remembered(digest)
        if found is not None:
            _make_room(self._digests)
            self._digests[key] = digest
        return found

    def _recently(self, name: bytes | str) -> tuple[Principal | None] | None:
        """What was found of it a moment ago; None where that is to be asked."""
        latest = time.monotonic() - TRUSTED_S
        known = self._known.get(name)
        if known is not None and known[0] > latest:
            return (known[1],)
        return (None,) if self._nobody.get(name, latest) > latest else None

    async def _remembered(self, name: bytes | str) -> Principal | None:
        if (recently := self._recently(name)) is not None:
            return recently[0]
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
        # Counted from before the question: what was revoked since then is not yet in the answer.
        if principal is None:
            self._known.pop(name, None)
            _make_room(self._nobody)
            self._nobody[name] = asked
        else:
            self._nobody.pop(name, None)
            _make_room(self._known)
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


def _make_room(remembered: dict[Any, Any]) -> None:
    """Forget all of it once it is as much as may be: it is soon asked for again."""
    if len(remembered) >= _MAX_REMEMBERED:
        remembered.clear()
