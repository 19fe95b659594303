"""A worker that was taken over tries to harm its keeper; what it says is refused, or spoils its video only."""

import os
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from types import NoneType
from typing import Any

import msgspec
import numpy as np
import pytest

from pipeline.errors import DecoderCrashed, DecodeTimeout, UnsupportedContainer
from pipeline.limits import InputLimits
from pipeline.media import Inspected, LocalMedia
from pipeline.packets import PacketIndex
from pipeline.plans import plan
from pipeline.sandbox import wire
from pipeline.sandbox.media import SandboxedMedia
from pipeline.sandbox.protocol import Check
from tests.pipeline.sandbox import forge
from tests.pipeline.sandbox.hostile import Answer, says, taken, worker

CHECK = Check(name="x", size_bytes=1, limits=InputLimits())


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    made = tmp_path_factory.mktemp("distrust") / "v.mp4"
    made.write_bytes(forge.honest("mp4"))
    return made


@pytest.mark.parametrize(
    "answer",
    [
        says((wire.ITEM, wire.encode(None)), (wire.DONE, wire.encode(None))),
        says((wire.DONE, wire.encode(7))),
        says((9, wire.encode(None))),
        says((wire.DONE, b"")),
        says((wire.FAILED, wire.encode(None))),
        lambda end: end.sendall(struct.pack("<BQ", wire.DONE, wire.MAX_HEAD + 1)),
        lambda end: end.sendall(struct.pack("<BQ", wire.DONE, (1 << 64) - 1)),
        lambda end: end.shutdown(socket.SHUT_RDWR),
    ],
    ids=["in pieces", "another type", "unknown kind", "empty", "no reason", "long", "longer", "gone"],
)
def test_answers_out_of_order_end_the_worker(answer):
    with worker(answer) as made:
        with pytest.raises(DecoderCrashed) as caught:
            made.ask(CHECK, NoneType, timeout_s=5.0)
        assert not made.alive
        assert "\n" not in str(caught.value)


def test_files_that_a_worker_sends_are_not_kept():
    def flood(end: socket.socket) -> None:
        header = struct.pack("<BQ", wire.DONE, len(wire.encode(None)))
        for byte in header:
            socket.send_fds(end, [bytes([byte])], [0, 1])
        end.sendall(wire.encode(None))

    with worker(flood) as made:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            made.ask(CHECK, NoneType, timeout_s=5.0)
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_trickle_does_not_keep_the_keeper():
    def trickle(end: socket.socket) -> None:
        end.sendall(struct.pack("<BQ", wire.DONE, 1000))
        for _ in range(400):
            end.sendall(b"\0")
            time.sleep(0.05)

    with worker(trickle) as made:
        began = time.monotonic()
        with pytest.raises(DecodeTimeout):
            made.ask(CHECK, NoneType, timeout_s=0.5)
        # It would trickle for 20 s.
        assert time.monotonic() - began < 10


def test_a_refusal_is_one_line_of_bounded_length():
    message = "a\n\x1b[2Jerror: \u2028" + "x" * 100_000
    failure = wire.Failure(code=UnsupportedContainer.code, message=message)
    with worker(says((wire.FAILED, wire.encode(failure)))) as made, pytest.raises(UnsupportedContainer) as caught:
        made.ask(CHECK, NoneType, timeout_s=5.0)
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


def _index(seen: Inspected, **columns: Any) -> Inspected:
    return replace(seen, index=replace(seen.index, **columns))


def _info(seen: Inspected, **fields: Any) -> Inspected:
    return replace(seen, info=msgspec.structs.replace(seen.info, **fields))


def _with(array: np.ndarray, at: int, value: Any) -> np.ndarray:
    changed = array.copy()
    changed[at] = value
    return changed


def _shape(fields: dict[str, Any], seen: Inspected) -> Inspected:
    return _codec(seen, geometry=msgspec.structs.replace(seen.index.codec.geometry, **fields))


def _codec(seen: Inspected, **fields: Any) -> Inspected:
    return _index(seen, codec=msgspec.structs.replace(seen.index.codec, **fields))


SHAPES = {
    "nothing": {"width": 0},
    "negative": {"height": -1},
    "enormous": {"width": 1 << 40},
    "aspect of none": {"pixel_aspect": (0, 1)},
    "aspect of much": {"pixel_aspect": (1 << 40, 1)},
    "rotation": {"rotation_deg": 45},
}

INSPECTED: dict[str, Callable[[Inspected], Inspected]] = {
    "no entry": lambda s: _index(s, entry=np.zeros(len(s.index), bool)),
    "late entry": lambda s: _index(s, entry=_with(s.index.entry, 0, False)),
    "nothing shown": lambda s: _index(s, shown=np.zeros(len(s.index), bool)),
    "times of text": lambda s: _index(s, pts=s.index.pts.astype("<f8")),
    "times in two dimensions": lambda s: _index(s, pts=s.index.pts[:, None]),
    "times near the end": lambda s: _index(s, pts=_with(s.index.pts, 3, (1 << 63) - 1)),
    "times of years": lambda s: _index(s, pts=_with(s.index.pts, 3, 1 << 50)),
    "negative sizes": lambda s: _index(s, size=_with(s.index.size, 3, -5)),
    "another origin": lambda s: _index(s, origin=s.index.origin - 1),
    "an end before the start": lambda s: _index(s, end=s.index.origin - 1),
    "an end in years": lambda s: _index(s, end=1 << 60),
    "no time base": lambda s: _index(s, time_base=Fraction(0)),
    "a negative time base": lambda s: _index(s, time_base=Fraction(-1, 25)),
    "light that is none": lambda s: _codec(s, peak_nits=float("nan")),
    "a long header": lambda s: _codec(s, extradata=bytes(9 << 20)),
    "a negative width": lambda s: _codec(s, width=-5),
    "an enormous height": lambda s: _codec(s, height=1 << 31),
    "another codec": lambda s: _codec(s, name="vp9"),
    "a long tag": lambda s: _codec(s, tag="x" * 100_000),
    "an endless delay": lambda s: _codec(s, reorder_depth=1 << 31),
    "a matrix that is none": lambda s: _codec(s, colorspace=-9),
    "duration that is none": lambda s: _info(s, duration_s=float("nan")),
    "rate without end": lambda s: _info(s, average_fps=float("inf")),
    "another size": lambda s: _info(s, width=1 << 30),
    "another count": lambda s: _info(s, frames=1 << 40),
    "a codec of two lines": lambda s: _info(s, codec="h264\n\x1b[2J"),
    "a long codec": lambda s: _info(s, codec="h" * 5000),
    **{f"shape: {name}": partial(_shape, fields) for name, fields in SHAPES.items()},
}


@pytest.mark.parametrize("name", INSPECTED)
def test_an_index_that_no_honest_worker_gives_is_refused(path, name):
    lie = INSPECTED[name](LocalMedia(path).inspect())
    with taken(says((wire.DONE, wire.encode(lie)))) as sandbox, pytest.raises(DecoderCrashed):
        SandboxedMedia(path, sandbox).inspect()


def test_more_pictures_than_the_limit_are_refused(path):
    seen = LocalMedia(path).inspect()
    with taken(says((wire.DONE, wire.encode(seen)))) as sandbox, pytest.raises(DecoderCrashed):
        SandboxedMedia(path, sandbox, InputLimits(max_packets=10)).inspect()


def test_columns_of_different_length_are_refused(path):
    seen = LocalMedia(path).inspect()
    shorter = seen.index.pts[:-1]
    broken = object.__new__(PacketIndex)
    for name in PacketIndex.__slots__:
        object.__setattr__(broken, name, shorter if name == "pts" else getattr(seen.index, name))
    lie = wire.encode(Inspected(broken, seen.info, None))
    with taken(says((wire.DONE, lie))) as sandbox, pytest.raises(DecoderCrashed):
        SandboxedMedia(path, sandbox).inspect()


def test_the_name_and_size_of_a_file_are_its_own(path):
    seen = _info(LocalMedia(path).inspect(), path="/etc/passwd", size_bytes=1)
    with taken(says((wire.DONE, wire.encode(seen)))) as sandbox:
        info = SandboxedMedia(path, sandbox).inspect().info
    assert (info.path, info.size_bytes) == (str(path), path.stat().st_size)


@pytest.fixture(scope="module")
def cut(path):
    """(index, plans, honest clips)"""
    media = LocalMedia(path)
    index = media.inspect().index
    plans = plan(index, index.display_order[::3], max_wanted=2)
    return index, plans, list(media.clips(index, plans, glimpse=True))


def _clips(path, cut, answer: Answer) -> list:
    index, plans, _ = cut
    with taken(answer) as sandbox:
        return list(SandboxedMedia(path, sandbox).clips(index, plans, glimpse=True))


def _stream(clips) -> list[tuple[int, bytes]]:
    return [*((wire.ITEM, wire.encode(clip.packets)) for clip in clips), (wire.DONE, wire.encode(None))]


def test_honest_packets_make_the_clips_that_were_planned(path, cut):
    _, _, clips = cut
    got = _clips(path, cut, says(*_stream(clips)))
    assert [msgspec.structs.replace(clip, job="", owner="") for clip in got] == [
        msgspec.structs.replace(clip, job="", times_s=theirs.times_s) for clip, theirs in zip(clips, got, strict=True)
    ]
    assert {clip.job for clip in got}.isdisjoint({clip.job for clip in clips})


def test_clips_without_end_are_refused(path, cut):
    def endless(end: socket.socket) -> None:
        while True:
            says(*_stream(cut[2])[:-1])(end)

    with pytest.raises(DecoderCrashed):
        _clips(path, cut, endless)


PACKETS: dict[str, Callable[[tuple[bytes, ...]], Any]] = {
    "none": lambda packets: (),
    "too many": lambda packets: (*packets, b"x"),
    "another length": lambda packets: (packets[0] + b"x", *packets[1:]),
    "a very long one": lambda packets: (bytes(9 << 20), *packets[1:]),
    "another type": lambda packets: tuple(map(len, packets)),
}


@pytest.mark.parametrize("name", PACKETS)
def test_packets_that_were_not_planned_are_refused(path, cut, name):
    first, *others = [clip.packets for clip in cut[2]]
    items = [(wire.ITEM, wire.encode(packets)) for packets in (PACKETS[name](first), *others)]
    with pytest.raises(DecoderCrashed):
        _clips(path, cut, says(*items, (wire.DONE, wire.encode(None))))


def test_fewer_clips_than_planned_are_an_error(path, cut):
    with pytest.raises(DecoderCrashed, match="less"):
        _clips(path, cut, says(*_stream(cut[2][:-1])))
