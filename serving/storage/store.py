"""Objects under keys, in a directory. Written whole or not at all: an object that can be read is complete.

What is put is sealed while it comes in: nothing of it touches the disk as it is. See docs/storage-format.md.
"""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from pipeline.errors import InputNotFound
from pipeline.sealed.files import SealedFile
from pipeline.sealed.form import MAGIC, What, is_sealed
from pipeline.sealed.reading import Reader
from pipeline.sealed.sealing import Sealer
from serving.db import failpoints
from serving.storage.keyring import Keyring, fresh_key
from serving.storage.ranges import Found, Ranges, Version

#: Bytes that are handed on at once, in either direction.
CHUNK_BYTES = 1 << 20

#: Objects that are listed at once.
_LISTED = 500


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


def part_at(tenant: str, object_key: str) -> What:
    """The object of a part of an upload."""
    return What(tenant, object_key, "part")


class Store:
    """An object store. Keys are made by us, never by a caller: `videos/vid_...`; none is ever used again.

    What the disk cannot do is an OSError, in all of it.
    """

    def __init__(self, root: Path, keyring: Keyring) -> None:
        """`keyring`: for whoever keeps the keys of objects."""
        self._root = root
        self.keyring = keyring
        """Where the keys of objects are."""
        self._store = LocalStore(root, mkdir=True)
        self._ranges = Ranges(self._version, self._found)

    async def put(self, what: What, chunks: AsyncIterable[bytes]) -> Written:
        """Seal and write an object from a stream; holds one part of it at a time. When this returns, it is on the disk,
        whatever happens to the power. What the stream raises is raised, and the object is not there then."""
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

        with _os_errors():
            await obstore.put_async(self._store, what.blob, counted(), chunk_size=CHUNK_BYTES)
        # A rename alone is not on the disk yet, and whoever put this may delete the only other copy next.
        await asyncio.to_thread(_flushed, self._root / what.blob, self._root)
        failpoints.reach("object.put", "after")
        return Written(size, digest.hexdigest(), key)

    async def get(self, what: What, key: bytes | None) -> AsyncIterator[bytes]:
        """The bytes of an object.

        Args:
            key: [32] what it was sealed with; None of one that was not.

        Raises:
            FileNotFoundError: there is none, or its key was destroyed.
            Altered: it is not what was put; what came before that is.
        """
        if key is None:
            async for chunk in self._unsealed(what.blob):
                yield chunk
            return
        with _os_errors():
            size = (await obstore.head_async(self._store, what.blob))["size"]
        reader = await asyncio.to_thread(Reader, partial(self._read_at, what.blob), size, key, what)
        pieces = reader.pieces()
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece

    async def size(self, what: What, key: bytes | None) -> int:
        """Bytes of an object, as they came. Arguments and errors as `read`."""
        return (await self._version(what.blob)).size_bytes if key is None else await self._ranges.size(what, key)

    async def read(self, what: What, key: bytes | None, start: int, stop: int) -> AsyncGenerator[bytes]:
        """The bytes of an object from `start` up to, not including, `stop`; fewer where it ends before. They come in
        pieces of up to half a MiB, the first ones smaller. Two pieces at most are in memory: while one is handed on,
        the next is read, and no more until that is asked for. Whoever does not want the rest closes the iterator.

        Args:
            key: [32] what it was sealed with; None of one that was not.

        Raises:
            FileNotFoundError: there is none, or its key was destroyed.
            Altered: it is not what was put; what came before that is.
            OSError: it cannot be read.
        """
        pieces = self._ranges.read(what, key, start, stop) if key is not None else self._plain(what.blob, start, stop)
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def _plain(self, key: str, start: int, stop: int) -> AsyncGenerator[bytes]:
        version = await self._version(key)
        if is_sealed(bytes((await self._found(key, 0, len(MAGIC))).content) if version.size_bytes else b""):
            raise FileNotFoundError(f"{key}: its key was destroyed")
        stop = min(stop, version.size_bytes)
        for at in range(start, stop, CHUNK_BYTES):
            yield bytes((await self._found(key, at, min(CHUNK_BYTES, stop - at))).content)

    async def _version(self, key: str) -> Version:
        with _os_errors():
            found = await obstore.head_async(self._store, key)
        return Version(found["size"], found["e_tag"])

    async def _found(self, key: str, offset: int, length: int) -> Found:
        with _os_errors():
            got = await obstore.get_async(self._store, key, options={"range": (offset, offset + length)})
            content = await got.bytes_async()
        return Found(memoryview(content), Version(got.meta["size"], got.meta["e_tag"]))

    async def _unsealed(self, key: str) -> AsyncIterator[bytes]:
        head = b""
        with _os_errors():
            found = await obstore.get_async(self._store, key)
            async for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
                if len(head) < len(MAGIC):
                    head += bytes(chunk[: len(MAGIC)])
                    if is_sealed(head):
                        raise FileNotFoundError(f"{key}: its key was destroyed")
                yield bytes(chunk)

    def _read_at(self, key: str, offset: int, length: int) -> bytes:
        with _os_errors():
            return bytes(obstore.get_range(self._store, key, start=offset, length=length))

    async def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""
        failpoints.reach("object.delete", "before")
        try:
            with _os_errors():
                await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return
        failpoints.reach("object.delete", "after")

    async def older(self, prefix: str, before: datetime) -> AsyncIterator[list[str]]:
        """Keys of all objects under a prefix that were written before a moment, some hundreds at a time."""
        with _os_errors():
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
    async def opened(self, what: What, key: bytes | None) -> AsyncIterator[Path | SealedFile]:
        """A file that holds an object, for as long as the block lasts.

        Args:
            key: [32] what it was sealed with; None of one that was not.

        Raises:
            InputNotFound: its key was destroyed.
        """
        path = self._root / what.blob
        if key is not None:
            yield SealedFile(path, key, what)
            return
        # A file that is not there is told by whoever opens it.
        if is_sealed(await asyncio.to_thread(_head, path)):
            raise InputNotFound(f"{what.blob}: its key was destroyed, with the video")
        yield path

    async def ready(self) -> None:
        """Raises OSError where nothing can be read from it."""
        with _os_errors():
            await obstore.list(self._store, prefix="ready").collect_async()


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """What the object store cannot do is an OSError, as for any other file."""
    try:
        yield
    except BaseError as error:
        raise OSError(str(error)) from error


def _flushed(file: Path, root: Path) -> None:
    """Wait until a file, and its name in every folder down from `root`, outlast a loss of power."""
    for place in (file, *file.parents):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if place == root:
            return


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC))
    except FileNotFoundError:
        return b""


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
