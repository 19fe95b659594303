"""Sealed objects of a bucket as files of this machine, for processes that read videos: these get a descriptor, and can
open nothing.

A file has no name: it is gone with its process, however that ends. What is in it is as the bucket has it, sealed.
A file is kept for a while for whoever wants the same next.
"""

import asyncio
import contextlib
import os
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from pipeline.errors import Altered
from serving.errors import StorageFull
from serving.storage.ranges import Found, T, Version

#: How long a file is kept that nobody uses, seconds.
KEPT_S: Final = 300.0

#: Bytes that are fetched at once, and how many times.
_PART_BYTES: Final = 4 << 20
_AT_ONCE: Final = 4


class Source(Protocol):
    """Where the bytes come from: see `Objects`."""

    async def version(self, key: str) -> Version:
        """See `Objects.version`."""
        ...

    async def found(self, key: str, offset: int, length: int, use: Callable[[Found], T]) -> T:
        """See `Objects.found`."""
        ...


class _Blocks:
    """A file without a name, there until it is closed; while a thread still writes to it, until that is done."""

    def __init__(self, folder: Path, size_bytes: int, gone: "Callable[[_Blocks], None]") -> None:
        """Its blocks are there at once, so that none fills the disk half way. Raises StorageFull.

        `gone`: called once it is no more, by any thread.
        """
        self._gone, self._lock = gone, threading.Lock()
        self._writing, self._closed = 0, False
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
                if size_bytes:
                    os.posix_fallocate(file.fileno(), 0, size_bytes)
                self.descriptor = os.dup(file.fileno())
        except OSError as error:
            raise StorageFull(f"{size_bytes} bytes cannot be kept in {folder} ({error.strerror})") from error

    def write(self, content: bytes | memoryview, offset: int) -> None:
        """Write some of it; nothing where nobody wants it any more. Raises StorageFull."""
        with self._lock:
            if self._closed:
                return
            self._writing += 1
        try:
            if os.pwrite(self.descriptor, content, offset) != len(content):
                raise StorageFull(f"{len(content)} bytes could not be written")
        finally:
            with self._lock:
                self._writing -= 1
                last = self._closed and not self._writing
            if last:
                self._end()

    def close(self) -> None:
        """Nobody wants it any more."""
        with self._lock:
            first, self._closed = not self._closed, True
            last = first and not self._writing
        if last:
            self._end()

    def _end(self) -> None:
        os.close(self.descriptor)
        self._gone(self)

    def __del__(self) -> None:
        # Of one that was made for somebody who had gone away meanwhile.
        if hasattr(self, "descriptor"):
            self.close()


@dataclass(slots=True, eq=False)
class _File:
    blocks: _Blocks
    version: Version
    filling: asyncio.Task[None]
    users: int = 0
    left_at: float = 0.0
    unwanted: bool = False
    """Whether it goes with its last user."""


class Spool:
    """The files of one process."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """
        Args:
            folder: where their blocks are; made where it is missing.
            max_bytes: as many may all of them have together.
        """
        self._folder, self._max_bytes = folder, max_bytes
        self._files: dict[str, _File] = {}
        self._open: dict[_Blocks, int] = {}
        """Bytes of those that are there, also of objects that are no more, or are others now."""
        self._beginning = asyncio.Lock()
        self._left = asyncio.Event()

    @property
    def used_bytes(self) -> int:
        """Of all files that are there, those that somebody uses still included."""
        # Threads take them out.
        return sum(list(self._open.values()))

    @asynccontextmanager
    async def file(self, key: str, source: Source) -> AsyncIterator[Path]:
        """An object's bytes in a file, as long as the block lasts. Waits where others use the room.

        Raises:
            StorageFull: it is larger than all of them may be, or the disk has no room for it.
            FileNotFoundError, OSError: as `source`.
            Altered: it was changed while it was fetched.
        """
        version = await source.version(key)
        one = self._same(key, version)
        if one is None:
            async with self._beginning:
                one = self._same(key, version) or await self._begun(key, source, version)
        one.users += 1
        try:
            await asyncio.shield(one.filling)
            # Whoever opens that opens the file anew, with a position of its own.
            yield Path(f"/proc/self/fd/{one.blocks.descriptor}")
        finally:
            one.users -= 1
            self._leave(key, one)

    def forget(self, key: str) -> None:
        """Keep no file of an object longer than somebody uses it."""
        one = self._files.get(key)
        if one is not None:
            one.unwanted = True
            if not one.users:
                self._drop(key, one)

    def _same(self, key: str, version: Version) -> _File | None:
        """The file of an object, if it is of what the object is now: somebody may have put back a copy, or another."""
        one = self._files.get(key)
        if one is None or one.version == version:
            return one
        self._drop(key, one)
        return None

    async def _begun(self, key: str, source: Source, version: Version) -> _File:
        await self._make_room(version.size_bytes)
        loop = asyncio.get_running_loop()
        blocks = await asyncio.to_thread(_Blocks, self._folder, version.size_bytes, partial(self._closed, loop))
        self._open[blocks] = version.size_bytes
        filling = asyncio.create_task(_fill(blocks, key, source, version))
        self._files[key] = one = _File(blocks, version, filling)
        return one

    def _closed(self, loop: asyncio.AbstractEventLoop, blocks: _Blocks) -> None:
        self._open.pop(blocks, None)
        # The loop may be closed, then nobody waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._left.set)

    async def _make_room(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise StorageFull(
                f"an object of {size_bytes} bytes has no room among the files of this process; "
                f"{self._max_bytes} bytes are allowed (storage.spool_max_bytes)"
            )
        while self.used_bytes + size_bytes > self._max_bytes:
            idle = [(one.left_at, key) for key, one in self._files.items() if not one.users]
            if idle:
                _, oldest = min(idle)
                self._drop(oldest, self._files[oldest])
            else:
                self._left.clear()
                await self._left.wait()

    def _leave(self, key: str, one: _File) -> None:
        """Somebody does not use it any more."""
        self._left.set()
        failed = one.filling.done() and (one.filling.cancelled() or one.filling.exception() is not None)
        unwanted = one.unwanted or self._files.get(key) is not one
        if failed or (not one.users and (unwanted or not one.filling.done())):
            self._drop(key, one)
        elif not one.users:
            one.left_at = time.monotonic()
            asyncio.get_running_loop().call_later(KEPT_S, self._expire, key, one)

    def _expire(self, key: str, one: _File) -> None:
        if not one.users and time.monotonic() - one.left_at >= KEPT_S - 1:
            self._drop(key, one)

    def _drop(self, key: str, one: _File) -> None:
        """Those who use it do so until they are done, and until then it counts."""
        if not one.users:
            one.filling.cancel()
            one.blocks.close()
        if self._files.get(key) is one:
            del self._files[key]


async def _fill(blocks: _Blocks, key: str, source: Source, version: Version) -> None:
    offsets = iter(range(0, version.size_bytes, _PART_BYTES))

    def write(offset: int, length: int, found: Found) -> None:
        if found.version != version or len(found.content) != length:
            raise Altered(f"{key} was changed while it was fetched")
        blocks.write(found.content, offset)

    async def some() -> None:
        for offset in offsets:
            length = min(_PART_BYTES, version.size_bytes - offset)
            await source.found(key, offset, length, partial(write, offset, length))

    parts = [asyncio.create_task(some()) for _ in range(_AT_ONCE)]
    try:
        await asyncio.gather(*parts)
    finally:
        for part in parts:
            part.cancel()
