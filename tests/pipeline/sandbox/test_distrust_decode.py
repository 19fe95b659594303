"""As `test_distrust`, for what a worker says of pictures and of sound."""

import math
import mmap
import os
import socket
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pipeline.audio import BIN_S
from pipeline.decode.pyav import PyAVDecoder
from pipeline.errors import DecoderCrashed
from pipeline.frames import Loudness, Strip
from pipeline.limits import WorkerLimits
from pipeline.media import LocalMedia
from pipeline.plans import plan
from pipeline.report import Notice
from pipeline.sandbox import wire
from pipeline.sandbox.client import Sandbox
from pipeline.sandbox.decoder import SandboxedDecoder
from pipeline.sandbox.media import SandboxedMedia
from pipeline.sandbox.memory import shared_memory
from pipeline.sandbox.protocol import Heard, Pictures
from tests.pipeline.sandbox import forge
from tests.pipeline.sandbox.hostile import says, taken


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("distrust") / "v.mp4"
    path.write_bytes(forge.honest("mp4"))
    media = LocalMedia(path)
    index = media.inspect().index
    (made,) = media.clips(index, plan(index, index.display_order[:4]), glimpse=True)
    return made


def _truth(clip) -> Pictures:
    decoded = PyAVDecoder().decode(clip)
    _, height, width, _ = decoded.frames.pixels.shape
    return Pictures(decoded.rows, decoded.frames.pts_s, height, width, decoded.strip, 0.0)


def _strip(pictures: Pictures, **fields) -> Pictures:
    assert pictures.strip is not None
    return replace(pictures, strip=replace(pictures.strip, **fields))


def _thumbs(*shape: int) -> Callable[[Pictures], Pictures]:
    return lambda p: replace(p, strip=Strip(np.arange(float(shape[0])), np.zeros(shape, np.uint8)))


PICTURES: dict[str, Callable[[Pictures], Pictures]] = {
    "large": lambda p: replace(p, height=1 << 40),
    "large and narrow": lambda p: replace(p, height=(1 << 63) - 1, width=0),
    "negative": lambda p: replace(p, height=-p.height, width=-p.width),
    "smaller": lambda p: replace(p, height=p.height - 1),
    "a picture twice": lambda p: replace(p, rows=(p.rows[0],) * len(p.rows)),
    "other pictures": lambda p: replace(p, rows=tuple(row + 1000 for row in p.rows)),
    "more pictures": lambda p: replace(p, rows=tuple(range(1000)), pts_s=np.arange(1000.0)),
    "fewer times": lambda p: replace(p, pts_s=p.pts_s[:-1]),
    "times that are none": lambda p: replace(p, pts_s=p.pts_s * math.nan),
    "times without end": lambda p: replace(p, pts_s=p.pts_s + math.inf),
    "times that go back": lambda p: replace(p, pts_s=p.pts_s[::-1]),
    "whole times": lambda p: replace(p, pts_s=p.pts_s.astype(np.int64)),
    "times in two dimensions": lambda p: replace(p, pts_s=p.pts_s[:, None]),
    "thumbnails of another size": _thumbs(4, 1000, 1000, 3),
    "thumbnails without colour": _thumbs(4, 27, 48, 1),
    "thumbnails without end": _thumbs(500, 27, 48, 3),
    "thumbnails at no time": lambda p: _strip(p, pts_s=np.full(len(p.strip or ()), np.nan)),
    "thumbnails of fractions": lambda p: _strip(p, thumbs=np.zeros((len(p.strip or ()), 27, 48, 3), np.float32)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_that_no_honest_worker_gives_are_refused(clip, name):
    lie = PICTURES[name](_truth(clip))
    with taken(says((wire.DONE, wire.encode(lie)))) as sandbox:
        decoder = SandboxedDecoder(sandbox)
        with pytest.raises(DecoderCrashed):
            decoder.decode(clip)
        decoder.close()


def test_an_honest_answer_passes(clip):
    with taken(says((wire.DONE, wire.encode(_truth(clip))))) as sandbox:
        decoder = SandboxedDecoder(sandbox)
        decoded = decoder.decode(clip)
        decoder.close()
    assert decoded.rows == clip.wanted
    # It said so and wrote nothing: black pictures, not somebody else's memory.
    assert not decoded.frames.pixels.any()


def test_shared_memory_cannot_be_made_shorter():
    """Or the keeper's next look at it would end the keeper (SIGBUS)."""
    descriptor, memory = shared_memory(8192)
    try:
        for size in (0, 4096, 1 << 30):
            with pytest.raises(PermissionError):
                os.ftruncate(descriptor, size)
        mmap.mmap(descriptor, 8192)[:4] = b"seen"
        assert memory[:4] == b"seen"
    finally:
        os.close(descriptor)


def _heard(rms: np.ndarray, onset: np.ndarray, bin_s: float = BIN_S) -> Heard:
    return Heard(loudness=Loudness(bin_s, rms, onset), notice=None)


FLAT = np.zeros(20, np.float32)

SOUNDS: dict[str, Heard] = {
    "no bins": _heard(FLAT[:0], FLAT[:0]),
    "longer": _heard(np.zeros(30, np.float32), np.zeros(30, np.float32)),
    "two lengths": _heard(FLAT, FLAT[:-1]),
    "bins of nothing": _heard(FLAT, FLAT, 0.0),
    "bins of none": _heard(FLAT, FLAT, math.nan),
    "loudness that is none": _heard(FLAT + math.nan, FLAT),
    "less than silence": _heard(FLAT - 1, FLAT),
    "whole numbers": _heard(FLAT.astype(np.int64), FLAT),
    "two dimensions": _heard(FLAT[:, None], FLAT[:, None]),
    "another notice": Heard(loudness=None, notice=Notice(code="all_is_well", message="")),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_sound_that_no_honest_worker_gives_costs_the_sound(tmp_path, name):
    path = tmp_path / "v.mp4"
    path.write_bytes(forge.honest("mp4"))
    with taken(says((wire.DONE, wire.encode(SOUNDS[name])))) as sandbox:
        loudness, notice = SandboxedMedia(path, sandbox).listen(start_s=0.0, duration_s=2.0)
    assert loudness is None
    assert notice is not None
    assert notice.code == "audio_unreadable"


def test_a_worker_that_is_taken_over_cannot_write_to_the_log(tmp_path):
    """Standard error is the server's; a worker of the real program has none."""
    with Sandbox() as sandbox:
        made = sandbox.worker()
        try:
            targets = {os.readlink(f"/proc/{made.pid}/fd/{number}") for number in (0, 1, 2)}
        except PermissionError:
            pytest.skip("only root may look into a worker")
        finally:
            made.kill()
    assert targets == {"/dev/null"}


def test_a_worker_holds_its_socket_and_no_other_file(tmp_path):
    with socket.socketpair()[0], Sandbox() as sandbox:
        workers = [sandbox.worker() for _ in range(3)]
        try:
            files = [len(os.listdir(f"/proc/{made.pid}/fd")) for made in workers]
        except PermissionError:
            pytest.skip("only root may look into a worker")
        finally:
            for made in workers:
                made.kill()
    assert files == [4, 4, 4]


def test_pictures_that_do_not_fit_into_a_worker_are_a_typed_error(tmp_path):
    path = tmp_path / "v.mp4"
    path.write_bytes(forge.honest("mp4", 16, 1920, 1088))
    with Sandbox(WorkerLimits(memory_bytes=80 << 20)) as sandbox:
        media = SandboxedMedia(path, sandbox)
        index = media.inspect().index
        (clip,) = media.clips(index, plan(index, index.display_order))
        decoder = SandboxedDecoder(sandbox)
        with pytest.raises(DecoderCrashed, match="memory"):
            decoder.decode(clip)
        decoder.close()
