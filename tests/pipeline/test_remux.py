"""Repacked videos: the same pictures and the same sound at the same times, each segment playable by itself."""

import dataclasses
import io
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.container import InputContainer

from pipeline.errors import CorruptVideo, UnsupportedCodec
from pipeline.limits import INPUT_LIMITS
from pipeline.opened import open_file
from pipeline.remux import boxes
from pipeline.remux.playable import told, why_not
from pipeline.remux.reading import Repacked, repacked
from pipeline.remux.samples import Wanted, read_samples
from pipeline.remux.tables import Segment, segments
from pipeline.sandbox.client import Sandbox
from pipeline.sandbox.repacking import repack, segment
from pipeline.sealed.reading import Reader
from pipeline.synthesis import Encoding
from tests.serving.playback import films


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as made:
        yield made


def _decoded(file, kind: str) -> list[tuple[float, bytes]]:
    """(time, content) of everything in it."""
    with cast(InputContainer, av.open(file, "r")) as container:
        stream = container.streams.video[0] if kind == "video" else container.streams.audio[0]
        frames: Any = container.decode(stream)
        return [(float(frame.time), frame.to_ndarray().tobytes()) for frame in frames]


def _all(path: Path, sandbox: Sandbox) -> tuple[Repacked, tuple[Segment, ...], list[bytes]]:
    seen = repack(path, sandbox)
    parts = segments(seen.video, seen.sound)
    return seen, parts, [segment(path, seen, number, part, sandbox) for number, part in enumerate(parts)]


FILMS = {
    "h264.mp4": films.H264,
    "h264.mkv": films.H264,
    "closed.mp4": films.CLOSED_GOP,
    "vp9.webm": films.VP9,
    "av1.mp4": films.AV1,
}


def test_a_film_is_read_once(tmp_path):
    """Pictures and sound together: a film of two hours has gigabytes of both."""
    path = films.film(tmp_path / "x.mkv", films.H264, 60.0)
    plain, read = path.read_bytes(), 0

    class Counted:
        size_bytes = len(plain)

        def read(self, offset: int, length: int) -> bytes:
            nonlocal read
            read += length
            return plain[offset : offset + length]

    with open_file(path) as file:
        expected = repacked(file, INPUT_LIMITS)
        sealed = dataclasses.replace(file, reader=cast(Reader, Counted()))
        found = repacked(sealed, INPUT_LIMITS)
    # Its beginning and its end are read again, for the header that players get.
    assert len(plain) <= read < 1.6 * len(plain)
    assert found.sound is not None
    assert (found.header, len(found.sound)) == (expected.header, len(expected.sound or ()))


@pytest.mark.parametrize("name", FILMS)
def test_it_is_the_same_film(name, tmp_path, sandbox):
    path = films.film(tmp_path / name, FILMS[name])
    seen, parts, got = _all(path, sandbox)
    whole = seen.header + b"".join(got)
    was = _decoded(str(path), "video")
    began = was[0][0]
    shown = _decoded(io.BytesIO(whole), "video")
    assert [content for _, content in shown] == [content for _, content in was]
    assert np.allclose([t for t, _ in shown], [t - began for t, _ in was], atol=0.0015)
    heard, was_heard = _decoded(io.BytesIO(whole), "audio"), _decoded(str(path), "audio")
    assert len(heard) == len(was_heard)
    # Matroska has milliseconds; the first packet of Opus begins before the video.
    assert np.allclose([t for t, _ in heard][1:], [t - began for t, _ in was_heard][1:], atol=0.0015)
    # Segments follow one another and are all of it; each begins with a picture that needs none before it.
    assert parts[0].start_s == 0.0
    assert np.allclose([p.start_s + p.duration_s for p in parts], [*(p.start_s for p in parts[1:]), 10.0])
    assert all(4.0 <= part.duration_s < 6.1 for part in parts[:-1])
    for part, content in zip(parts, got, strict=True):
        alone = _decoded(io.BytesIO(seen.header + content), "video")
        times = [t for t, _ in alone if t > part.start_s - 0.001]
        assert times[0] == pytest.approx(part.start_s, abs=0.0015)
        assert times[-1] < part.start_s + part.duration_s


def test_what_an_edit_list_cuts_off_is_not_shown(tmp_path, sandbox):
    whole = films.film(tmp_path / "whole.mp4", films.H264, 6.0, sound=False)
    # Copied from its keyframe at 2 s, to begin a second later: times before 0 become an edit list.
    cut = tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream: Any = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        packets: Any = source.demux(stream)
        for packet in packets:
            if packet.dts is None or packet.pts * stream.time_base < 2.0 - 0.2:
                continue
            if not packet.is_keyframe and packet.pts * stream.time_base < 2.0:
                continue
            shift = round(3 / stream.time_base)
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
            target.mux(packet)
    was = _decoded(str(cut), "video")
    seen, _, got = _all(cut, sandbox)
    early = len(seen.video) - len(was)
    shown = _decoded(io.BytesIO(seen.header + b"".join(got)), "video")
    # What is cut off is decoded, and over within less than a millisecond.
    assert [content for _, content in shown[early:]] == [content for _, content in was]
    assert shown[early][0] < 0.001
    assert np.allclose([t for t, _ in shown[early + 1 :]], [t - was[0][0] for t, _ in was[1:]], atol=1e-4)


def test_what_browsers_do_not_play_is_refused_with_its_reason(tmp_path, sandbox):
    for name, encoding, reason in (
        ("hevc.mp4", films.HEVC, "its codec is hevc"),
        ("part2.mp4", Encoding(codec="mpeg4"), "its codec is mpeg4"),
        ("deep.mp4", Encoding(pixel_format="yuv420p10le", options={"preset": "ultrafast"}), "format is yuv420p10le"),
        ("h264.ts", films.H264, "its container is mpegts"),
    ):
        path = films.film(tmp_path / name, encoding, 1.0)
        with pytest.raises(UnsupportedCodec, match=reason):
            repack(path, sandbox)
    (tmp_path / "x.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(100))
    with pytest.raises(CorruptVideo):
        repack(tmp_path / "x.mp4", sandbox)
    assert why_not("mov,mp4,m4a,3gp,3g2,mj2", "h264", "yuv420p", "ac3") == "the codec of its sound is ac3"


def test_another_file_than_it_was_is_found_out(tmp_path):
    path = films.film(tmp_path / "a.mp4", films.H264, 2.0)
    with open_file(path) as file:
        seen = repacked(file, INPUT_LIMITS)
        assert seen.sound is not None
        sizes = seen.video.size.copy()
        sizes[3] += 1
        wanted = Wanted(seen.video.stamp, sizes, seen.sound.stamp, seen.sound.size)
        with pytest.raises(CorruptVideo, match="did it change meanwhile"):
            read_samples(file, wanted, INPUT_LIMITS)


def test_codecs_are_told_as_browsers_know_them():
    assert told("h264", bytes.fromhex("0164001fffe1")) is None
    assert told("h264", bytes.fromhex("0164001fffe100")) == "avc1.64001f"
    assert told("aac", b"\x12\x10") == "mp4a.40.2"
    assert told("aac", b"\xf9\x46") == "mp4a.40.42"
    assert told("av1", b"\x81\x08\x0c\x00") == "av01.0.08M.08"
    assert told("av1", b"\x00\x08\x0c\x00") is None
    assert told("hevc", b"") is None


def test_a_header_that_makes_no_sense_is_told():
    with pytest.raises(ValueError, match="without a header"):
        boxes.header_of(b"\0\0\0\x08free")
    with pytest.raises(ValueError, match="ends too early"):
        boxes.clocks(b"\0\0\0\x18moov\0\0\0\x10trak\0\0\0\x08mdhd"[:0] + b"\0\0\0\x0cmdhd\0\0\0\0")


def test_sound_counts_for_the_largest_segment(tmp_path, sandbox):
    path = films.film(tmp_path / "x.mp4", films.H264, 1.0)
    seen = repack(path, sandbox)
    assert seen.sound is not None
    (part,) = segments(seen.video, seen.sound)
    assert part.size_bytes == int(seen.video.size.sum()) + int(seen.sound.size.sum())
    # As if each packet of it had 8 MiB.
    large = dataclasses.replace(seen.sound, size=np.full(len(seen.sound), 8 << 20, np.int32))
    (part,) = segments(seen.video, large)
    with pytest.raises(UnsupportedCodec, match="pictures and sound are"):
        segment(path, dataclasses.replace(seen, sound=large), 0, part, sandbox)
