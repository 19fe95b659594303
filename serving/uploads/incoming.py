"""The bytes of a request, on their way into objects: counted, digested, and cut into parts."""

import hashlib
import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass

from serving.errors import ChecksumMismatch, TooLarge
from serving.uploads import quota


class Interrupted(Exception):
    """Whoever sent the bytes is gone, or has sent nothing for too long; there may be more of them."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the bytes of one request have to come to."""

    algorithm: str
    """As hashlib names it."""
    digest: bytes


class Incoming:
    """Bytes that are taken part by part, so that what has come is kept before all has come."""

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        room_bytes: int,
        checksum: Checksum | None = None,
        quota_bytes: int | None = None,
    ) -> None:
        """`chunks` may raise Interrupted, which is where the bytes end then. `room_bytes`: as many are taken, and of
        `quota_bytes` no more either, if there is one."""
        self._chunks = chunks
        self._rest = b""
        self._room_bytes = room_bytes
        self._quota_bytes = quota_bytes
        self._came_bytes = 0
        self._checksum = checksum
        self._digest = hashlib.new(checksum.algorithm) if checksum else None
        self._interrupted = False

    async def more(self) -> bool:
        """Whether there is a byte that no part has had yet."""
        while not self._rest:
            try:
                self._rest = await anext(self._chunks)
            except StopAsyncIteration:
                return False
            except Interrupted:
                self._interrupted = True
                return False
        return True

    async def part(self, most: int | None) -> AsyncIterator[bytes]:
        """The next `most` bytes, or all that are left.

        Raises:
            TooLarge: more came than there is room for.
            QuotaExceeded: more came than the tenant may keep.
        """
        while most != 0 and await self.more():
            size = len(self._rest) if most is None else min(most, len(self._rest))
            chunk, self._rest = self._rest[:size], self._rest[size:]
            if most is not None:
                most -= size
            self._came_bytes += size
            if self._came_bytes > self._room_bytes:
                raise TooLarge("more bytes came than the upload has room for; see its length, and upload.max_bytes")
            quota.require_within(self._came_bytes, self._quota_bytes)
            if self._digest is not None:
                self._digest.update(chunk)
            yield chunk

    def verify(self) -> None:
        """Once all parts were taken.

        Raises:
            ChecksumMismatch: the bytes are not those that the checksum is of, or only some of them.
        """
        if self._checksum is None or self._digest is None:
            return
        if self._interrupted or not hmac.compare_digest(self._digest.digest(), self._checksum.digest):
            raise ChecksumMismatch("the bytes do not have this checksum; none of them was kept, send them again")
