"""What holds for objects, wherever they are: the same tests over a folder and over a bucket of an S3 server."""

import asyncio
import os
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.errors import Altered, InputNotFound
from pipeline.opened import open_file
from serving.errors import StorageUnavailable
from serving.storage.address import Address
from serving.storage.bucket import opened
from serving.storage.keyring import Keyring
from serving.storage.master import LocalMaster
from serving.storage.store import Store, part_at, video_at
from tests.serving.blobs import Blobs
from tests.serving.buckets import bucket_at
from tests.serving.sealing import MASTER_KEY

ROOT = Path(__file__).parents[3]
WHAT = video_at("a", "videos/one")

#: More than two parts of a bucket, and not a whole number of segments.
LARGE = random.Random(1).randbytes(19_000_001)
SMALL = LARGE[:1000]


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path) -> tuple[Path, str]:
    """A folder, and the address of the server where the bucket is instead of it."""
    endpoint = request.getfixturevalue("s3_server") if request.param == "bucket" else ""
    return tmp_path / "objects", endpoint


@pytest.fixture
def store(place) -> Store:
    """A store there."""
    return _store(*place)


def _store(folder: Path, endpoint: str) -> Store:
    objects = bucket_at(folder, endpoint) if endpoint else folder
    return Store(objects, Keyring(LocalMaster([MASTER_KEY])))


async def _chunks(content: bytes, size: int = 300_000):
    for at in range(0, len(content), size):
        yield content[at : at + size]


async def _all(pieces) -> bytes:
    return b"".join([piece async for piece in pieces])


async def _swept(store: Store, before: datetime) -> int:
    """As `uploads.cleaning.sweep` does it, where no row names anything."""
    removed = await store.sweep_unfinished("videos", before)
    async for keys in store.older("videos", before):
        for key in keys:
            await store.delete(key)
            removed += 1
    return removed


async def _first(store: Store, key: bytes | None) -> bytes:
    """The first bytes of its file."""
    async with store.opened(WHAT, key) as file:
        with open_file(file) as video:
            return video.read_at(0, 10)


SOON = timedelta(minutes=1)


@pytest.mark.parametrize("content", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
def test_what_is_put_is_read(store, content):
    async def body() -> None:
        written = await store.put(WHAT, _chunks(content))
        assert written.size_bytes == len(content) == await store.size(WHAT, written.key)
        assert await _all(store.get(WHAT, written.key)) == content
        middle = len(content) // 2
        assert await _all(store.read(WHAT, written.key, middle, middle + 100_000)) == content[middle:][:100_000]
        async with store.opened(WHAT, written.key) as file:
            with open_file(file) as video:
                assert video.read_at(middle, 1000) == content[middle:][:1000]
                assert video.size_bytes == len(content)

    if content:
        asyncio.run(body())
        blobs = Blobs(store)
        assert blobs.keys() == [WHAT.blob]
        assert content[:16] not in blobs.read(WHAT.blob)
    else:
        asyncio.run(_nothing(store))


async def _nothing(store: Store) -> None:
    written = await store.put(WHAT, _chunks(b""))
    assert await _all(store.get(WHAT, written.key)) == b""


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_a_stream_that_breaks_leaves_nothing(store, content):
    class BrokenError(Exception):
        pass

    async def breaking():
        async for chunk in _chunks(content):
            yield chunk
        raise BrokenError

    with pytest.raises(BrokenError):
        asyncio.run(store.put(WHAT, breaking()))
    assert Blobs(store).keys() == []


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_what_cannot_be_written_is_told(store, place, content):
    async def without_end():
        async for chunk in _chunks(content):
            yield chunk
        raise FileNotFoundError("the end is gone")

    with pytest.raises(FileNotFoundError, match=r"^the end is gone$"):
        asyncio.run(store.put(WHAT, without_end()))
    if place[1]:
        where = Address("s3", "no-such-bucket", "a")
        store._objects._store = opened(where, place[1], 8 << 20)
        with pytest.raises(StorageUnavailable, match="NoSuchBucket"):
            asyncio.run(store.put(WHAT, _chunks(content)))


def test_who_is_canceled_leaves_nothing(store):
    async def body() -> None:
        waits = asyncio.Event()

        async def endless():
            async for chunk in _chunks(LARGE):
                yield chunk
            waits.set()
            await asyncio.sleep(600)

        putting = asyncio.create_task(store.put(WHAT, endless()))
        await waits.wait()
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting

    asyncio.run(body())
    assert Blobs(store).keys() == []


def test_who_is_killed_leaves_what_the_sweep_takes(place):
    store, blobs = _store(*place), Blobs(_store(*place))
    command = [sys.executable, "-m", "tests.serving.storage.dying", str(place[0]), WHAT.blob, place[1]]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "under way\n"
        writer.kill()
    assert len(left := blobs.keys()) == 1
    assert left[0].startswith(f"{WHAT.blob}#")

    async def body() -> None:
        # Another one is being written just now, by somebody who lives.
        written = await store.put(part_at("a", "videos/other"), _chunks(SMALL))
        assert await _swept(store, datetime.now(UTC) - SOON) == 0
        assert await _all(store.get(part_at("a", "videos/other"), written.key)) == SMALL
        assert await _swept(store, datetime.now(UTC) + SOON) == 2

    asyncio.run(body())
    assert blobs.keys() == []


def test_lists_have_what_is_under_the_prefix(store):
    async def body() -> None:
        for key in ("videos/one", "videos/two", "videos2/three", "uploads/four"):
            await store.put(video_at("a", key), _chunks(SMALL))
        found = [key async for keys in store.older("videos", datetime.now(UTC) + SOON) for key in keys]
        assert sorted(found) == ["videos/one", "videos/two"]
        assert [key async for keys in store.older("videos", datetime.now(UTC) - SOON) for key in keys] == []

    asyncio.run(body())


def test_what_is_deleted_is_gone_however_often(store):
    async def body() -> None:
        written = await store.put(WHAT, _chunks(SMALL))
        async with store.opened(WHAT, written.key):
            await store.delete(WHAT.blob)
        await store.delete(WHAT.blob)
        with pytest.raises(FileNotFoundError):
            await _all(store.get(WHAT, written.key))
        with pytest.raises(FileNotFoundError):
            await store.size(WHAT, written.key)
        with pytest.raises(InputNotFound):
            await _first(store, written.key)

    asyncio.run(body())
    assert Blobs(store).keys() == []


def test_what_is_deleted_is_in_no_spool(store, place):
    """Its file would be there for minutes, for nobody."""

    async def body() -> None:
        written = await store.put(WHAT, _chunks(SMALL))
        async with store.opened(WHAT, written.key):
            pass
        assert store._objects._spool.used_bytes > 0
        await store.delete(WHAT.blob)
        assert store._objects._spool.used_bytes == 0

    if place[1]:
        asyncio.run(body())


@pytest.mark.parametrize("read_before", [False, True])
def test_what_was_changed_is_refused(store, read_before):
    key = asyncio.run(store.put(WHAT, _chunks(LARGE))).key
    if read_before:
        assert asyncio.run(_all(store.read(WHAT, key, 0, 10))) == LARGE[:10]
    blobs = Blobs(store)
    blob = bytearray(blobs.read(WHAT.blob))
    blob[len(blob) // 2] ^= 1
    for changed in (bytes(blob), bytes(blob[:-1]), b"", LARGE):
        blobs.write(WHAT.blob, changed)
        with pytest.raises(Altered):
            asyncio.run(_all(store.get(WHAT, key)))


def test_what_is_not_sealed_is_read_where_it_is_a_file_only(store, place):
    """Into a bucket, others write: what is not sealed there is nobody's video."""
    Blobs(store).write(WHAT.blob, SMALL)

    async def body() -> None:
        if place[1]:
            with pytest.raises(FileNotFoundError, match="keys seal"):
                await _all(store.get(WHAT, None))
            with pytest.raises(InputNotFound, match="keys seal"):
                await _first(store, None)
            # As who seals it reads it.
            assert await _all(store.get_raw(WHAT.blob)) == SMALL
        else:
            assert await _all(store.get(WHAT, None)) == SMALL
            assert await _first(store, None) == SMALL[:10]

    asyncio.run(body())


def test_a_store_that_gives_other_bytes_is_told(tmp_path, monkeypatch):
    objects = _store(tmp_path, "")._objects
    monkeypatch.setattr(os, "pread", lambda descriptor, length, offset: bytes(length))
    with pytest.raises(OSError, match="not what is read"):
        asyncio.run(objects.check())
    assert list((tmp_path / "ready").iterdir()) == []


def test_a_store_says_whether_it_is_there(store, place):
    asyncio.run(store.ready())
    asyncio.run(store._objects.check())
    assert Blobs(store).keys() == []
    if place[1]:
        store._objects._store = bucket_at(place[0], "http://127.0.0.1:9")._store
        with pytest.raises(StorageUnavailable):
            asyncio.run(asyncio.wait_for(store.ready(), 30))
