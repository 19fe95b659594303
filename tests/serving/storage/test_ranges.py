"""Any range of an object is read alone, and of one that was changed nothing that was not proved."""

import asyncio
import os
import random
from pathlib import Path

import pytest

from pipeline.errors import Altered
from pipeline.sealed.form import SEGMENT_BITS, TAG_BYTES
from serving.storage.store import Store, Written, video_at
from tests.serving.sealing import folder_at

WHAT = video_at("a", "videos/one")
SEGMENT = 1 << SEGMENT_BITS
PLAIN = SEGMENT - TAG_BYTES
CONTENT = random.Random(1).randbytes(40 * PLAIN + 1000)


async def _once(content: bytes):
    yield content


async def _read(store: Store, key: bytes | None, start: int, stop: int) -> bytes:
    return b"".join([piece async for piece in store.read(WHAT, key, start, stop)])


@pytest.fixture
def put(tmp_path) -> tuple[Store, Written, Path]:
    store = folder_at(tmp_path)
    return store, asyncio.run(store.put(WHAT, _once(CONTENT))), tmp_path / WHAT.blob


def test_ranges_are_what_was_put_and_little_more_is_read(put, monkeypatch):
    store, written, _ = put
    rng = random.Random(2)
    read = 0
    real = store._objects.found

    async def counted(key: str, offset: int, length: int, use):
        def used(found):
            nonlocal read
            read += len(found.content)
            return use(found)

        return await real(key, offset, length, used)

    async def look() -> None:
        nonlocal read
        monkeypatch.setattr(store._ranges, "_fetch", counted)
        assert await store.size(WHAT, written.key) == len(CONTENT)
        for _ in range(300):
            start = rng.choice([rng.randrange(len(CONTENT) + 10), rng.randrange(40) * PLAIN])
            stop = start + rng.choice([0, 1, 2, PLAIN, rng.randrange(len(CONTENT))])
            read = 0
            asked = CONTENT[start:stop]
            assert await _read(store, written.key, start, stop) == asked
            assert read <= len(asked) * SEGMENT / PLAIN + 2 * SEGMENT

    asyncio.run(look())


def test_who_takes_no_more_has_no_more_read(put, monkeypatch):
    store, written, _ = put
    fetched = []
    real = store._objects.found

    async def noted(key: str, offset: int, length: int, use):
        fetched.append(length)
        return await real(key, offset, length, use)

    async def look() -> None:
        await store.size(WHAT, written.key)
        monkeypatch.setattr(store._ranges, "_fetch", noted)
        pieces = store.read(WHAT, written.key, 0, len(CONTENT))
        first = await anext(pieces)
        await asyncio.sleep(0.05)
        assert len(fetched) <= 2, "one that was asked for, and one ahead"
        assert first == CONTENT[: len(first)]
        await pieces.aclose()
        await asyncio.sleep(0)
        assert len(fetched) <= 2

    asyncio.run(look())


def _flipped(blob: bytearray) -> None:
    blob[20 * SEGMENT] ^= 1


def _cut(blob: bytearray) -> None:
    del blob[-1:]


def _cut_far(blob: bytearray) -> None:
    del blob[10 * SEGMENT :]


def _longer(blob: bytearray) -> None:
    blob += b"x"


def _empty(blob: bytearray) -> None:
    blob.clear()


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("change", [_flipped, _cut, _cut_far, _longer, _empty])
def test_what_was_changed_is_refused_also_where_it_was_read_before(put, change, known):
    store, written, file = put
    if known:
        assert asyncio.run(_read(store, written.key, 0, 10)) == CONTENT[:10]
    blob = bytearray(file.read_bytes())
    change(blob)
    file.write_bytes(blob)
    released = b""

    async def look() -> None:
        nonlocal released
        async for piece in store.read(WHAT, written.key, 15 * PLAIN, 30 * PLAIN):
            released += piece

    with pytest.raises(Altered):
        asyncio.run(look())
    assert CONTENT[15 * PLAIN :].startswith(released)


def test_the_same_again_is_read_on(put):
    """A copy that was put back is another file, and proved anew."""
    store, written, file = put
    assert asyncio.run(_read(store, written.key, 0, 10)) == CONTENT[:10]
    other = file.with_name("other")
    other.write_bytes(file.read_bytes())
    os.replace(other, file)
    assert asyncio.run(_read(store, written.key, 5, 10)) == CONTENT[5:10]


def test_what_is_gone_or_was_never_sealed(put):
    store, written, file = put
    with pytest.raises(FileNotFoundError, match="destroyed"):
        asyncio.run(_read(store, None, 0, 10))
    file.write_bytes(CONTENT)
    assert asyncio.run(_read(store, None, 7, 3 << 20)) == CONTENT[7 : 3 << 20]
    assert asyncio.run(store.size(WHAT, None)) == len(CONTENT)
    assert asyncio.run(_read(store, None, len(CONTENT) + 5, len(CONTENT) + 9)) == b""
    file.unlink()
    for key in (written.key, None):
        with pytest.raises(FileNotFoundError):
            asyncio.run(_read(store, key, 0, 10))
