"""Files of objects that are elsewhere: sealed, without a name, no more of them than may be, gone with who made them."""

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import Altered
from serving.errors import StorageFull, StorageUnavailable
from serving.storage import spool as module
from serving.storage.ranges import Found, T, Version
from serving.storage.spool import Spool

BLOBS = {"one": os.urandom(9_000_000), "two": os.urandom(4_000_000), "three": os.urandom(3_000_000), "none": b""}


class Elsewhere:
    """Objects that are counted when they are fetched; `holds` is waited for."""

    def __init__(self) -> None:
        self.blobs = dict(BLOBS)
        self.fetched: list[str] = []
        self.holds: asyncio.Event | None = None
        self.changing = False

    async def version(self, key: str) -> Version:
        return Version(len(self.blobs[key]), str(hash(self.blobs[key])))

    async def found(self, key: str, offset: int, length: int, use: Callable[[Found], T]) -> T:
        self.fetched.append(key)
        if self.holds is not None:
            await self.holds.wait()
        if key not in self.blobs:
            raise StorageUnavailable("gone")
        found = Found(self.blobs[key][offset : offset + length], await self.version(key))
        if self.changing:
            self.blobs[key] = self.blobs[key][::-1]
        return await asyncio.to_thread(use, found)


async def _read(spool: Spool, source: Elsewhere, key: str) -> bytes:
    async with spool.file(key, source) as path:
        return await asyncio.to_thread(path.read_bytes)


def _here(folder: Path) -> list[str]:
    """Names in the folder."""
    return os.listdir(folder)


def test_a_file_has_no_name_and_is_fetched_once(tmp_path):
    async def body() -> None:
        spool, source = Spool(tmp_path / "spool", 20_000_000), Elsewhere()
        for key, blob in BLOBS.items():
            found = await asyncio.gather(*(_read(spool, source, key) for _ in range(3)))
            assert found == [blob] * 3
        assert _here(tmp_path / "spool") == []
        assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
        assert [source.fetched.count(key) for key in BLOBS] == [3, 1, 1, 0]

    asyncio.run(body())


def test_there_are_no_more_than_may_be(tmp_path):
    async def body() -> None:
        spool, source = Spool(tmp_path, 10_000_000), Elsewhere()
        async with spool.file("two", source):
            waits = asyncio.create_task(_read(spool, source, "one"))
            await asyncio.sleep(0.05)
            assert not waits.done()
            assert spool.used_bytes == 4_000_000
            # There is room for this one, but it came later; and who has a file already waits for nobody.
            later = asyncio.create_task(_read(spool, source, "three"))
            assert await _read(spool, source, "two") == BLOBS["two"]
            assert not later.done()
        assert await waits == BLOBS["one"]
        assert await later == BLOBS["three"]
        assert spool.used_bytes <= 10_000_000
        with pytest.raises(StorageFull, match="spool_max_bytes"):
            await _read(Spool(tmp_path, 2_999_999), source, "three")

    asyncio.run(body())


@pytest.mark.parametrize("why", ["deleted", "replaced"])
def test_what_is_still_used_counts(tmp_path, why):
    async def body() -> None:
        spool, source = Spool(tmp_path, 10_000_000), Elsewhere()
        async with spool.file("two", source) as path:
            if why == "deleted":
                spool.forget("two")
            else:
                source.blobs["two"] = BLOBS["one"]
            assert spool.used_bytes == 4_000_000
            # 9 MB beside these 4 would be too many.
            waits = asyncio.create_task(_read(spool, source, "one" if why == "deleted" else "two"))
            await asyncio.sleep(0.05)
            assert not waits.done()
            assert source.fetched == ["two"]
            assert spool.used_bytes == 4_000_000
            assert path.read_bytes() == BLOBS["two"]
        assert await asyncio.wait_for(waits, 10) == BLOBS["one"]
        assert spool.used_bytes == 9_000_000

    asyncio.run(body())


def test_what_is_still_written_counts_and_whoever_waits_is_called_then(tmp_path, monkeypatch):
    writing, go = threading.Event(), threading.Event()
    pwrite = os.pwrite

    def slow(*arguments) -> int:
        if not go.is_set():
            writing.set()
            go.wait(10)
        return pwrite(*arguments)

    monkeypatch.setattr(os, "pwrite", slow)

    async def body() -> None:
        spool, source = Spool(tmp_path, 10_000_000), Elsewhere()
        reading = asyncio.create_task(_read(spool, source, "two"))
        await asyncio.to_thread(writing.wait, 10)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert spool.used_bytes == 4_000_000
        waits = asyncio.create_task(_read(spool, source, "one"))
        await asyncio.sleep(0.05)
        assert not waits.done()
        go.set()
        assert await asyncio.wait_for(waits, 10) == BLOBS["one"]
        assert spool.used_bytes == 9_000_000

    asyncio.run(body())


def test_a_disk_without_room_is_told(tmp_path, monkeypatch):
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageFull, match="No space left"):
        asyncio.run(_read(Spool(tmp_path, 1 << 30), Elsewhere(), "one"))


def test_what_fails_is_told_and_begun_anew(tmp_path):
    async def body() -> None:
        spool, source = Spool(tmp_path, 1 << 30), Elsewhere()
        source.holds = asyncio.Event()
        waiting = [asyncio.create_task(_read(spool, source, "one")) for _ in range(2)]
        await asyncio.sleep(0.05)
        del source.blobs["one"]
        source.holds.set()
        for failed in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(failed, StorageUnavailable)
        assert spool.used_bytes == 0
        source.blobs["one"] = BLOBS["one"]
        assert await _read(spool, source, "one") == BLOBS["one"]

    asyncio.run(body())


def test_who_is_canceled_leaves_no_file(tmp_path):
    async def body() -> None:
        spool, source = Spool(tmp_path, 1 << 30), Elsewhere()
        source.holds = asyncio.Event()
        reading = asyncio.create_task(_read(spool, source, "one"))
        await asyncio.sleep(0.05)
        assert spool.used_bytes == len(BLOBS["one"])
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert spool.used_bytes == 0

    asyncio.run(body())


def test_another_object_in_its_place_is_fetched(tmp_path):
    async def body() -> None:
        spool, source = Spool(tmp_path, 1 << 30), Elsewhere()
        assert await _read(spool, source, "two") == BLOBS["two"]
        source.blobs["two"] = BLOBS["three"]
        async with spool.file("two", source):
            source.blobs["two"] = BLOBS["one"]
            assert await _read(spool, source, "two") == BLOBS["one"]
        source.changing = True
        source.blobs["two"] = BLOBS["one"] + b"x"
        with pytest.raises(Altered):
            await _read(spool, source, "two")

    asyncio.run(body())


def test_what_nobody_wants_any_more_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "KEPT_S", 0.05)

    async def body() -> None:
        spool, source = Spool(tmp_path, 1 << 30), Elsewhere()
        await _read(spool, source, "two")
        spool.forget("two")
        assert spool.used_bytes == 0
        async with spool.file("two", source) as path:
            spool.forget("two")
            assert path.read_bytes() == BLOBS["two"], "whoever uses it does until they are done"
        assert spool.used_bytes == 0
        await _read(spool, source, "two")
        while spool.used_bytes:
            await asyncio.sleep(0.02)
        open_files = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if _is_open(name)]
        assert not [name for name in open_files if name.startswith(str(tmp_path))]

    asyncio.run(body())


def _is_open(name: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{name}")


def test_where_no_folder_can_be_made_it_is_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageFull, match="cannot be kept"):
        asyncio.run(_read(Spool(tmp_path / "file", 1 << 30), Elsewhere(), "two"))
