"""Objects under keys, in a directory. Written whole or not at all: an object that can be read is complete."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import obstore
from obstore.store import LocalStore

from serving.db import failpoints

#: Bytes that are handed on at once, in either direction.
CHUNK_BYTES = 1 << 20

#: Objects that are listed at once.
_LISTED = 500


@dataclass(frozen=True, slots=True)
class Written:
    """What was put."""

    size_bytes: int
    sha256: str


class Store:
    """An object store. Keys are made by us, never by a caller: `videos/vid_...`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._store = LocalStore(root, mkdir=True)

    async def put(self, key: str, chunks: AsyncIterable[bytes]) -> Written:
        """Write an object from a stream; holds one part of it at a time. What the stream raises is raised, and the
        object is not there then."""
        digest = hashlib.sha256()
        size = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            loop = asyncio.get_running_loop()
            hashed: asyncio.Future[None] | None = None
            async for piece in _pieces(chunks):
                if hashed is not None:
                    await hashed
                # While it is hashed, it is written, and the next one comes in.
                hashed = loop.run_in_executor(None, digest.update, piece)
                size += len(piece)
                yield piece
            if hashed is not None:
                await hashed
            failpoints.reach("object.put", "before")

        await obstore.put_async(self._store, key, counted(), chunk_size=CHUNK_BYTES)
        failpoints.reach("object.put", "after")
        return Written(size, digest.hexdigest())

    async def get(self, key: str) -> AsyncIterator[bytes]:
        """The bytes of an object. Raises FileNotFoundError."""
        found = await obstore.get_async(self._store, key)
        async for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
            yield bytes(chunk)

    async def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""
        failpoints.reach("object.delete", "before")
        try:
            await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return
        failpoints.reach("object.delete", "after")

    async def older(self, prefix: str, before: datetime) -> AsyncIterator[list[str]]:
        """Keys of all objects under a prefix that were written before a moment, some hundreds at a time."""
        async for found in obstore.list(self._store, prefix=prefix, chunk_size=CHUNK_BYTES):
            yield [entry["path"] for entry in found if entry["last_modified"] < before]

    def sweep_unfinished(self, prefix: str, before: datetime) -> int:
        """Remove what processes that died have left of objects that they were writing, where nothing was added since a
        moment; how many there were. No listing shows these files, and nobody ever finishes them."""
        removed = 0
        for file in (self._root / prefix).glob("*#*"):
            with contextlib.suppress(FileNotFoundError):
                if file.stat().st_mtime < before.timestamp():
                    file.unlink()
                    removed += 1
        return removed

    @asynccontextmanager
    async def opened(self, key: str) -> AsyncIterator[Path]:
        """A file that holds an object, for as long as the block lasts."""
        yield self._root / key

    async def ready(self) -> None:
        """Raises OSError where nothing can be read from it."""
        await obstore.list(self._store, prefix="ready").collect_async()


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
