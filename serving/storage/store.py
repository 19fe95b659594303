"""Objects under keys, sealed: what is put is sealed while it comes in, and what is read was proved to be that.

Nothing of it is anywhere as it is, on no disk and in no bucket. See docs/storage-format.md.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pipeline.errors import InputNotFound
from pipeline.sealed.files import SealedFile
from pipeline.sealed.form import MAGIC, What, is_sealed
from pipeline.sealed.sealing import Sealer
from serving.db import failpoints
from serving.storage.folder import Folder
from serving.storage.keyring import Keyring, fresh_key
from serving.storage.objects import Objects
from serving.storage.ranges import Found, Ranges

#: Bytes that are handed on at once, in either direction.
CHUNK_BYTES: Final = 1 << 20

#: Where every object ends, at the latest.
_END: Final = 1 << 62

_UNSEALED: Final = "it is not sealed; run `automations keys seal`, then try again"

#: Nothing was written after that.
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Written:
    """What was put."""

    size_bytes: int
    """As it came, not as it is kept; so is"""
    sha256: str
    key: bytes = field(repr=False)
    """[32] What it was sealed with. It is nowhere yet: whoever names the object in a row keeps it with that."""


def video_at(tenant: str, object_key: str) -> What:
    """The object of a video."""
    return What(tenant, object_key, "video")


def is_object(key: str) -> bool:
    """Whether what has a key of its own under this name is an object, and not values of rows."""
    return not key.startswith("values/")


def part_at(tenant: str, object_key: str) -> What:
    """The object of a part of an upload."""
    return What(tenant, object_key, "part")


class Store:
    """An object store. Keys are made by us, never by a caller: `videos/vid_...`; none is ever used again.

    What the store cannot do is an OSError, in all of it; StorageUnavailable where it is elsewhere.
    """

    def __init__(self, where: Path | Objects, keyring: Keyring) -> None:
        """
        Args:
            where: a folder, or objects that are elsewhere.
            keyring: for whoever keeps the keys of objects.
        """
        self._objects = Folder(where) if isinstance(where, Path) else where
        self._ranges = Ranges(self._objects.version, self._objects.found)
        self.keyring = keyring
        """Where the keys of objects are."""

    @property
    def name(self) -> str:
        """Where objects are, for people."""
        return self._objects.name

    async def put(self, what: What, chunks: AsyncIterable[bytes]) -> Written:
        """Seal and write an object from a stream; holds some parts of it at a time. When this returns, it is there for
        good; when it raises, also what the stream raises, there is none."""
        digest, key = hashlib.sha256(), fresh_key()
        sealer = Sealer(key, what)
        size = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            loop = asyncio.get_running_loop()
            hashed: asyncio.Future[None] | None = None
            async for piece in _pieces(chunks):
                if hashed is not None:
                    await hashed
                # While it is hashed, it is sealed and written, and the next one comes in.
                hashed = loop.run_in_executor(None, digest.update, piece)
                size += len(piece)
                yield await loop.run_in_executor(None, sealer.feed, piece)
            if hashed is not None:
                await hashed
            yield sealer.finish()
            failpoints.reach("object.put", "before")

        await self._objects.put(what.blob, counted())
        failpoints.reach("object.put", "after")
        return Written(size, digest.hexdigest(), key)

    async def get(self, what: What, key: bytes | None) -> AsyncGenerator[bytes]:
        """The bytes of an object, from its beginning to its end. Arguments and errors as `read`."""
        async with contextlib.aclosing(self.read(what, key, 0, _END)) as pieces:
            async for piece in pieces:
                yield piece

    async def size(self, what: What, key: bytes | None) -> int:
        """Bytes of an object, as they came. Arguments and errors as `read`."""
        return (
            (await self._objects.version(what.blob)).size_bytes if key is None else await self._ranges.size(what, key)
        )

    async def read(self, what: What, key: bytes | None, start: int, stop: int) -> AsyncGenerator[bytes]:
        """The bytes of an object from `start` up to, not including, `stop`; fewer where it ends before. They come
        segment by segment; up to half a MiB is read at once. Twice that at most is in memory: while it is handed on,
        the next is read, and no more until that is asked for. Whoever does not want the rest closes the iterator.

        Args:
            key: [32] what it was sealed with; None of one that was not.

        Raises:
            FileNotFoundError: there is none, its key was destroyed, or it is elsewhere and not sealed.
            Altered: it is not what was put; what came before that is.
            OSError: it cannot be read.
        """
        pieces = self._ranges.read(what, key, start, stop) if key is not None else self._plain(what.blob, start, stop)
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def _plain(self, key: str, start: int, stop: int) -> AsyncGenerator[bytes]:
        stop = min(stop, (await self._objects.version(key)).size_bytes)
        if await self._is_sealed(key):
            raise FileNotFoundError(f"{key}: its key was destroyed")
        if not isinstance(self._objects, Folder):
            # Whoever may write there, and take the row of a key away, would have bytes of theirs shown as a video.
            raise FileNotFoundError(f"{key}: {_UNSEALED}")
        for at in range(start, stop, CHUNK_BYTES):
            yield await self._objects.found(key, at, min(CHUNK_BYTES, stop - at), _content)

    async def _is_sealed(self, key: str) -> bool:
        """Whether it says so. Raises FileNotFoundError."""
        size_bytes = (await self._objects.version(key)).size_bytes
        return size_bytes >= len(MAGIC) and is_sealed(await self._objects.found(key, 0, len(MAGIC), _content))

    async def put_raw(self, key: str, chunks: AsyncIterable[bytes]) -> None:
        """Write bytes as they are: sealed ones that were copied, or what says nothing about anybody. As with `put`, it
        is there for good then."""
        await self._objects.put(key, _pieces(chunks))

    async def get_raw(self, key: str) -> AsyncIterator[bytes]:
        """The bytes of an object as they are kept: of a video, sealed. Raises FileNotFoundError where there is none."""
        stop = (await self._objects.version(key)).size_bytes
        for at in range(0, stop, CHUNK_BYTES):
            yield await self._objects.found(key, at, min(CHUNK_BYTES, stop - at), _content)

    def keys(self, prefix: str) -> AsyncIterator[list[str]]:
        """Keys of all objects under a prefix, some hundreds at a time."""
        return self._objects.older(prefix, _NEVER)

    async def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""
        failpoints.reach("object.delete", "before")
        if await self._objects.delete(key):
            failpoints.reach("object.delete", "after")

    def older(self, prefix: str, before: datetime) -> AsyncIterator[list[str]]:
        """Keys of all objects under a prefix that were written before a moment, some hundreds at a time."""
        return self._objects.older(prefix, before)

    async def sweep_unfinished(self, prefix: str, before: datetime) -> int:
        """See `Objects.sweep_unfinished`."""
        return await self._objects.sweep_unfinished(prefix, before)

    @asynccontextmanager
    async def opened(self, what: What, key: bytes | None) -> AsyncIterator[Path | SealedFile]:
        """A file that holds an object, for as long as the block lasts. Objects that are elsewhere are fetched into one,
        sealed as they are.

        Args:
            key: [32] what it was sealed with; None of one that was not.

        Raises:
            InputNotFound: it is not there, its key was destroyed, or it is elsewhere and not sealed.
            StorageFull: there is no room for the file.
        """
        async with contextlib.AsyncExitStack() as stack:
            try:
                if key is None:
                    await self._require_plain(what.blob)
                path = await stack.enter_async_context(self._objects.file(what.blob))
            except FileNotFoundError:
                raise InputNotFound(f"{what.blob}: its bytes are gone") from None
            yield path if key is None else SealedFile(path, key, what)

    async def _require_plain(self, key: str) -> None:
        if await self._is_sealed(key):
            raise InputNotFound(f"{key}: its key was destroyed, with the video")
        if not isinstance(self._objects, Folder):
            # It would lie on the disk as it is.
            raise InputNotFound(f"{key}: {_UNSEALED}")

    async def ready(self) -> None:
        """Raises OSError where nothing can be read from it."""
        await self._objects.ready()


def _content(found: Found) -> bytes:
    return bytes(found.content)


async def _pieces(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of about a MiB: a hundred small ones a MB, as sockets give them, cost as much to hand on
    as to hash and write."""
    waiting: list[bytes] = []
    size = 0
    async for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size >= CHUNK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if size:
        yield b"".join(waiting)
