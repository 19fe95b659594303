"""Videos that are sealed on the disk are read as if they were not, by a locked-in process that has one key."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import Altered, UnsupportedContainer, VideoError
from pipeline.media import LocalMedia, Media
from pipeline.plans import plan
from pipeline.sandbox.client import Sandbox
from pipeline.sandbox.media import SandboxedMedia
from pipeline.sealed.files import SealedFile, Stream
from pipeline.sealed.form import HEADER_BYTES, SEGMENT_BITS, What, fresh
from pipeline.sealed.reading import Reader
from pipeline.sealed.sealing import Sealer
from tests.formats.matrix import entries

KEY, WHAT = bytes(range(32)), What("ten_a", "videos/vid_1", "video")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(required=True) as made:
        yield made


def _sealed(path: Path, plain: bytes, bits: int = SEGMENT_BITS) -> SealedFile:
    sealer = Sealer(KEY, WHAT, fresh(bits))
    path.write_bytes(sealer.feed(plain) + sealer.finish())
    return SealedFile(path, KEY, WHAT)


def _all(media: Media) -> list[Any]:
    """Everything that is read of it, or the refusal at the end."""
    found: list[Any] = []
    try:
        seen = media.inspect()
        loudness, notice = media.listen(start_s=0.0, duration_s=2.0)
        found += [seen.info, seen.cut_off, notice, None if loudness is None else loudness.rms.tobytes()]
        plans = plan(seen.index, seen.index.display_order)
        found += [clip.packets for clip in media.clips(seen.index, plans, glimpse=True)]
    except VideoError as error:
        found.append((error.code, str(error)))
    return found


def _containers():
    first = {}
    for entry in entries():
        first.setdefault(entry.suffix, entry)
    return list(first.values())


@pytest.mark.parametrize("entry", _containers(), ids=lambda entry: entry.name)
def test_each_container_is_read_as_if_it_were_not_sealed(entry, sandbox, tmp_path):
    plain = tmp_path / f"video.{entry.suffix}"
    entry.make(plain)
    (tmp_path / "sealed").mkdir()
    sealed = _sealed(tmp_path / "sealed" / plain.name, plain.read_bytes(), 9)
    expected = repr(_all(LocalMedia(plain))).replace(str(plain), str(sealed.path))
    assert repr(_all(LocalMedia(sealed))) == expected
    assert repr(_all(SandboxedMedia(sealed, sandbox))) == expected


def test_one_that_was_changed_gives_what_is_not_changed_or_is_refused(sandbox, tmp_path):
    entry = next(entry for entry in _containers() if entry.suffix == "mp4")
    plain = tmp_path / "plain.mp4"
    entry.make(plain)
    sealed = _sealed(tmp_path / "video.mp4", plain.read_bytes(), 9)
    whole, blob = _all(LocalMedia(sealed)), sealed.path.read_bytes()
    rng = random.Random(1)
    refused = 0
    for number in range(40):
        changed = bytearray(blob)
        changed[rng.randrange(len(blob))] ^= 1 << rng.randrange(8)
        sealed.path.write_bytes(changed)
        found = _all(SandboxedMedia(sealed, sandbox) if number % 10 == 0 else LocalMedia(sealed))
        if found != whole:
            refused += 1
            assert found[-1][0] == "altered", found[-1]
            assert all(item in whole for item in found[:-1])
    # All of it is read, but for what lies in boxes that say nothing.
    assert refused >= 35


@pytest.mark.parametrize("changes", [{"key": bytes(32)}, {"what": replace(WHAT, tenant="ten_b")}])
def test_the_key_of_another_opens_nothing(sandbox, tmp_path, changes):
    sealed = replace(_sealed(tmp_path / "video.mp4", bytes(1000)), **changes)
    for media in (LocalMedia(sealed), SandboxedMedia(sealed, sandbox)):
        with pytest.raises(Altered, match=r"video\.mp4"):
            media.check()
    sealed.path.write_bytes(b"")
    with pytest.raises(Altered):
        LocalMedia(sealed).check()
    assert KEY.hex() not in repr(sealed)
    assert repr(KEY) not in repr(sealed)


def test_what_is_sealed_may_be_no_video(sandbox, tmp_path):
    for plain in (b"", b"just text"):
        sealed = _sealed(tmp_path / "video.mp4", plain)
        with pytest.raises(UnsupportedContainer):
            SandboxedMedia(sealed, sandbox).check()


def test_an_unsealed_file_in_the_place_of_a_sealed_one_is_refused(sandbox, tmp_path):
    entry = _containers()[0]
    path = tmp_path / f"video.{entry.suffix}"
    entry.make(path)
    with pytest.raises(Altered):
        SandboxedMedia(SealedFile(path, KEY, WHAT), sandbox).check()


def test_a_stream_reads_and_seeks_as_a_file_does(tmp_path):
    rng = random.Random(2)
    plain = rng.randbytes(5000)
    blob = _sealed(tmp_path / "sealed", plain, 8).path.read_bytes()
    (tmp_path / "plain").write_bytes(plain)
    reader = Reader(lambda offset, length: blob[offset : offset + length], len(blob), KEY, WHAT)
    with open(tmp_path / "plain", "rb") as file:
        stream = Stream(reader)
        assert len(blob) > HEADER_BYTES + len(plain)
        for _ in range(500):
            where = rng.choice([(rng.randrange(6000), 0), (-1, 2), (-rng.randrange(5000), 2), (rng.randrange(50), 1)])
            assert stream.seek(*where) == file.seek(*where)
            size = rng.choice([-1, 0, 1, 300, 10_000])
            assert stream.read(size) == file.read(size)
            assert stream.tell() == file.tell()
