"""Tar as archives have it: plain files one behind the other, nothing else. Written and read as a stream.

Of what tar can say besides (links, devices, owners, extended headers), nothing is written, and nothing is read: it is
refused. Names are compared with those that are expected, and never used as paths.
"""

import tarfile
from collections.abc import AsyncIterable, AsyncIterator
from typing import Final

from serving.errors import ArchiveRefused

_BLOCK: Final = tarfile.BLOCKSIZE

#: What ends an archive.
END: Final = bytes(2 * _BLOCK)

#: Bytes that are handed on at once, at most.
_CHUNK_BYTES: Final = 1 << 20


def header(name: str, size_bytes: int) -> bytes:
    """What comes before the bytes of a file."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size_bytes, 0o600
    # Sizes beyond 8 GiB are in the header itself, and no name is longer than a header's.
    content = info.tobuf(tarfile.GNU_FORMAT)
    if len(content) != _BLOCK:
        raise ValueError(f"{name}: too long a name")
    return content


def padding(size_bytes: int) -> bytes:
    """What comes behind them."""
    return bytes(-size_bytes % _BLOCK)


class Reading:
    """Files of an archive, one behind the other. Each is read whole before the next."""

    def __init__(self, chunks: AsyncIterable[bytes]) -> None:
        self._chunks = aiter(chunks)
        self._waiting = b""

    async def begin(self, most_bytes: int | None = None) -> tuple[str, int]:
        """Name and size of the next file, whose bytes are to be read then.

        Args:
            most_bytes: how large it may be; None: as large as it likes.

        Raises:
            ArchiveRefused: there is none, it is no plain file, or it is too large.
        """
        block = await self._take(_BLOCK)
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError) as error:
            raise ArchiveRefused(f"no archive, or cut off: {error}") from error
        if info.type != tarfile.REGTYPE:
            raise ArchiveRefused(f"{info.name!r}: not a plain file; no archive of this kind has others")
        if info.size < 0 or (most_bytes is not None and info.size > most_bytes):
            raise ArchiveRefused(f"{info.name!r}: {info.size} bytes, at most {most_bytes} may be there")
        return info.name, info.size

    async def expect(self, name: str, size_bytes: int | None = None, most_bytes: int | None = None) -> int:
        """As `begin`, of a file that has to come next; its size. Raises ArchiveRefused: another one does."""
        found, size = await self.begin(most_bytes)
        if found != name or size_bytes not in (None, size):
            raise ArchiveRefused(f"{found!r} ({size} bytes) is where {name!r} ({size_bytes} bytes) has to be")
        return size

    async def content(self, size_bytes: int) -> AsyncIterator[bytes]:
        """The bytes of the file that was begun. Raises ArchiveRefused: it is cut off."""
        left = size_bytes
        while left:
            chunk = await self._some(min(left, _CHUNK_BYTES))
            left -= len(chunk)
            yield chunk
        if any(await self._take(len(padding(size_bytes)))):
            raise ArchiveRefused("there is something between two files")

    async def whole(self, size_bytes: int) -> bytes:
        """All of them."""
        return b"".join([chunk async for chunk in self.content(size_bytes)])

    async def finish(self) -> None:
        """Raises ArchiveRefused where it does not end here."""
        if any(await self._take(len(END))):
            raise ArchiveRefused("there is something behind the end")
        if self._waiting or await anext(self._chunks, b""):
            raise ArchiveRefused("there is something behind the end")

    async def _some(self, most: int) -> bytes:
        while not self._waiting:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                raise ArchiveRefused("the archive is cut off")
            self._waiting = bytes(chunk)
        chunk, self._waiting = self._waiting[:most], self._waiting[most:]
        return chunk

    async def _take(self, size_bytes: int) -> bytes:
        parts = []
        while size_bytes:
            parts.append(await self._some(size_bytes))
            size_bytes -= len(parts[-1])
        return b"".join(parts)
