"""Shapes: turned, mirrored, with pixels that are not square, odd sizes, fields, and sizes that change on the way."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tests.formats.chart import chart, moments
from tests.formats.containers import H264, VP9
from tests.formats.matrix import Entry
from tests.formats.writing import COUNT, FPS, Codec, Known, encode, even, remux

_444 = replace(H264, pixels="yuv444p")


def _turned(name: str, oddity: str, right: Callable, prepare: Callable, suffix: str = "mp4") -> Entry:
    """A display matrix in the container; `right` is what a player makes of a picture."""

    def make(path: Path) -> Known:
        frames = moments(COUNT)
        remux(encode(path.with_name("plain.mp4"), _444, frames), path, prepare=prepare)
        return Known([np.ascontiguousarray(right(frame)) for frame in frames], even())

    return Entry(name, suffix, "libx264", "yuv444p", oddity, make)


def _clockwise(quarters: int) -> Callable:
    return lambda picture: np.rot90(picture, -quarters)


def _rotation(degrees: float, **flips: bool) -> Callable:
    # PyAV counts counter-clockwise.
    return lambda stream: stream.set_display_rotation(-degrees, **flips)


def _stretched(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def _aspect(name: str, aspect: Fraction, width: int, oddity: str, suffix: str = "mp4", quarters: int = 0) -> Entry:
    def make(path: Path) -> Known:
        frames = moments(COUNT)
        codec = replace(_444, aspect=aspect)
        if quarters:
            remux(encode(path.with_name("plain.mp4"), codec, frames), path, prepare=_rotation(90 * quarters))
        else:
            encode(path, codec, frames)
        return Known([np.rot90(_stretched(frame, width, 96), -quarters) for frame in frames], even())

    return Entry(name, suffix, "libx264", "yuv444p", oddity, make, 45.0)


def _odd(name: str, suffix: str, codec: Codec, width: int, height: int, bound_db: float = 22.0) -> Entry:
    def make(path: Path) -> Known:
        frames = moments(COUNT, width=width, height=height)
        encode(path, codec, frames)
        return Known(frames, even())

    return Entry(name, suffix, codec.name, codec.pixels, f"{width}x{height}", make, bound_db)


def _fields(name: str, suffix: str, codec: Codec, first: str) -> Entry:
    """Frames woven from two moments; the first field's moment is what is shown at the frame's time."""

    def make(path: Path) -> Known:
        whole = [_smooth(number / 2) for number in range(2 * COUNT)]
        woven = []
        for early, late in zip(whole[::2], whole[1::2], strict=True):
            frame = late.copy()
            lines = slice(0 if first == "tff" else 1, None, 2)
            frame[lines] = early[lines]
            woven.append(frame)
        encode(path, replace(codec, interlaced=first), woven)
        return Known(whole[::2], even())

    words = "top" if first == "tff" else "bottom"
    return Entry(name, suffix, codec.name, codec.pixels, f"interlaced, {words} field first", make, 31.0)


def _smooth(at: float) -> np.ndarray:
    """uint8 [96, 160, 3]: soft waves that drift 6 pixels a frame; half the lines say all about them."""
    y, x = np.mgrid[0:96, 0:160]
    waves = [110 + 70 * np.sin((x - 6 * at + 20 * shift) / 6 + y / (14 + 3 * shift)) for shift in range(3)]
    return np.stack(waves, -1).round().astype(np.uint8)


def _joined(codec: Codec, sizes: tuple[tuple[int, int], tuple[int, int]]) -> Callable[[Path], Known]:
    """Two halves of different sizes under one header: all are shown at the size of the first."""

    def make(path: Path) -> Known:
        half = COUNT // 2
        halves = [[chart(number, *sizes[at]) for number in range(at * half, at * half + half)] for at in (0, 1)]
        parts = [encode(path.with_name(f"{at}{path.suffix}"), codec, frames) for at, frames in enumerate(halves)]
        with av.open(str(path), "w") as writer, av.open(str(parts[0])) as first, av.open(str(parts[1])) as second:
            stream = writer.add_stream_from_template(first.streams.video[0])
            for reader, frames_before in ((first, 0), (second, half)):
                for packet in reader.demux(video=0):
                    if packet.size:
                        shift = round(Fraction(frames_before, FPS) / packet.time_base)
                        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                        packet.stream = stream
                        writer.mux(packet)
        return Known([*halves[0], *(_stretched(frame, *sizes[0]) for frame in halves[1])], even())

    return make


_JPEG = Codec("mjpeg", "yuvj444p", options={"qmin": "1", "qmax": "2"})
_MPEG2 = Codec("mpeg2video", bit_rate=8_000_000, options={"flags": "+ildct+ilme"})
_X264I = replace(H264, options={**H264.options, "x264-params": "interlaced=1"})

ENTRIES = [
    _turned("turned-90", "turned by 90 degrees", _clockwise(1), _rotation(90)),
    _turned("turned-180", "turned by 180 degrees", _clockwise(2), _rotation(180)),
    _turned("turned-270", "turned by 270 degrees", _clockwise(3), _rotation(270)),
    _turned("turned-90-mkv", "turned by 90 degrees", _clockwise(1), _rotation(90), "mkv"),
    _turned("turned-30", "turned by 30 degrees: the nearest quarter is none", _clockwise(0), _rotation(30)),
    _turned("turned-60", "turned by 60 degrees: the nearest quarter is 90", _clockwise(1), _rotation(60)),
    _turned("mirrored", "left and right swapped", lambda p: p[:, ::-1], _rotation(0, hflip=True)),
    _turned("upside-down", "top and bottom swapped", lambda p: p[::-1], _rotation(0, vflip=True)),
    _turned(
        "mirrored-270", "swapped, then turned by 270 degrees", lambda p: p.transpose(1, 0, 2),
        lambda stream: stream.set_display_matrix([0, 1 << 16, 0, 1 << 16, 0, 0, 0, 0, 1 << 30]),
    ),
    _turned("mirrored-mkv", "left and right swapped", lambda p: p[:, ::-1], _rotation(0, hflip=True), "mkv"),
    _turned(
        "matrix-zero", "a display matrix of zeros", lambda p: p,
        lambda stream: stream.set_display_matrix([0] * 9),
    ),
    _aspect("anamorphic-2", Fraction(2, 1), 320, "pixels 2:1"),
    _aspect("anamorphic-dv", Fraction(16, 11), 233, "pixels 16:11, 232.7 rounded to 233", "mkv"),
    _aspect("anamorphic-narrow", Fraction(1, 2), 80, "pixels 1:2"),
    _aspect("anamorphic-turned", Fraction(4, 3), 213, "pixels 4:3, turned by 90 degrees", quarters=1),
    _aspect("anamorphic-absurd", Fraction(50, 1), 160, "pixels 50:1, taken for square"),
    _odd("odd-vp9", "webm", VP9, 161, 97),
    _odd("odd-444", "mp4", _444, 159, 95, 44.0),
    _odd("odd-ffv1", "mkv", Codec("ffv1"), 33, 35),
    _odd("odd-mjpeg", "avi", Codec("mjpeg", "yuvj420p", options={"qmin": "1", "qmax": "2"}), 161, 97),
    _fields("fields-mpeg2-tff", "ts", _MPEG2, "tff"),
    _fields("fields-mpeg2-bff", "ts", _MPEG2, "bff"),
    _fields("fields-h264", "mkv", _X264I, "tff"),
    _fields("fields-prores", "mov", Codec("prores_ks", "yuv422p10le", options={"flags": "+ildct"}), "tff"),
    Entry("grows", "ts", "libx264", "yuv444p", "size doubles on the way, shown at the first",
          _joined(_444, ((160, 96), (320, 192)))),
    Entry("shrinks", "avi", "mjpeg", "yuvj444p", "size shrinks on the way, shown at the first",
          _joined(_JPEG, ((160, 96), (120, 72)))),
]  # fmt: skip
