"""API keys: made, shown once, and recognised."""

import asyncio
import hashlib
import hmac
import secrets
import time
from datetime import UTC, datetime
from typing import Final

from sqlmodel import select

from serving.api.access import Principal
from serving.db.accounts import ApiKey
from serving.db.database import SYSTEM, Database

#: Says what it is wherever it turns up, so that scanners for leaked secrets can find it.
PREFIX: Final = "aut_"

#: For how long a key that was found good is taken for good. Revocation takes as long to be felt everywhere.
TRUSTED_S: Final = 0.8

#: Keys that are remembered at most, per process.
_MAX_REMEMBERED: Final = 10_000


def new_key() -> str:
    """A key that nobody guesses: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


class Keys:
    """Recognises keys."""

    def __init__(self, database: Database, secret: bytes) -> None:
        """`secret`: what digests are keyed with. Without it, a stolen database does not tell whether a key is good."""
        self._database = database
        self._secret = secret
        self._known: dict[bytes, tuple[float, Principal | None]] = {}
        self._asking: dict[bytes, asyncio.Future[Principal | None]] = {}

    def digest(self, key: str) -> bytes:
        """What the database knows a key by."""
        return hmac.digest(self._secret, key.encode(), hashlib.sha256)

    async def principal(self, key: str) -> Principal | None:
        """Whose key it is; None where it is nobody's, or no longer good."""
        digest = self.digest(key)
        known = self._known.get(digest)
        if known is not None and time.monotonic() - known[0] < TRUSTED_S:
            return known[1]
        asking = self._asking.get(digest)
        if asking is None:
            # Of many requests at once, one asks for all.
            asking = self._asking[digest] = asyncio.ensure_future(self._look_up(digest))
            asking.add_done_callback(lambda _: self._asking.pop(digest, None))
        return await asyncio.shield(asking)

    async def _look_up(self, digest: bytes) -> Principal | None:
        asked = time.monotonic()
        async with self._database.read(SYSTEM) as session:
            key = (await session.exec(select(ApiKey).where(ApiKey.digest == digest))).one_or_none()
        principal = None
        if key is not None and key.revoked_at is None and not (key.expires_at and key.expires_at <= datetime.now(UTC)):
            principal = Principal(tenant_id=key.tenant_id, actor=key.id, scopes=frozenset(key.scopes))
        if len(self._known) >= _MAX_REMEMBERED:
            self._known.clear()
        # Counted from before the question: what was revoked since then is not yet in the answer.
        self._known[digest] = asked, principal
        return principal
