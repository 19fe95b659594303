"""Objects in a folder of this machine, or one that looks like it (a mounted disk, NFS)."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from obstore.store import LocalStore

from serving.flushing import flush
from serving.storage.objects import Objects
from serving.storage.ranges import Found, T, Version

#: Bytes that are written at once.
_PART_BYTES: Final = 1 << 20


class Folder(Objects):
    """Objects in a folder, each a file under its key."""

    def __init__(self, root: Path) -> None:
        super().__init__(LocalStore(root, mkdir=True), str(root))
        self._root = root

    async def put(self, key: str, chunks: AsyncIterable[bytes]) -> None:
        """See `Objects.put`. When this returns, it is on the disk, whatever happens to the power."""
        await self._written(key, chunks, part_bytes=_PART_BYTES, at_once=12)
        # A rename alone is not on the disk yet, and whoever put this may delete the only other copy next.
        await asyncio.to_thread(_flushed, self._root / key, self._root)

    async def version(self, key: str) -> Version:
        """See `Objects.version`."""
        return await asyncio.to_thread(lambda: _version(os.stat(self._root / key)))

    async def found(self, key: str, offset: int, length: int, use: Callable[[Found], T]) -> T:
        """See `Objects.found`. In one turn of a thread, of which the store's own client takes several."""
        return await asyncio.to_thread(lambda: use(self._found(key, offset, length)))

    def _found(self, key: str, offset: int, length: int) -> Found:
        descriptor = os.open(self._root / key, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return Found(memoryview(os.pread(descriptor, length, offset)), _version(os.fstat(descriptor)))
        finally:
            os.close(descriptor)

    @asynccontextmanager
    async def file(self, key: str) -> AsyncIterator[Path]:
        """See `Objects.file`. One that is not there is told by whoever opens it."""
        yield self._root / key

    async def sweep_unfinished(self, prefix: str, before: datetime) -> int:
        """See `Objects.sweep_unfinished`."""
        return await asyncio.to_thread(self._unlink_unfinished, prefix, before)

    def _unlink_unfinished(self, prefix: str, before: datetime) -> int:
        removed = 0
        for file in (self._root / prefix).glob("*#*"):
            with contextlib.suppress(FileNotFoundError):
                if file.stat().st_mtime < before.timestamp():
                    file.unlink()
                    removed += 1
        return removed


def _version(found: os.stat_result) -> Version:
    return Version(found.st_size, f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}")


def _flushed(file: Path, root: Path) -> None:
    """Wait until a file, and its name in every folder down from `root`, outlast a loss of power."""
    for place in (file, *file.parents):
        flush(place)
        if place == root:
            return
