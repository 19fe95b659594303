"""Attacks by size: small files that become large pictures, long videos or many packets."""

import functools
import io
import struct
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from pipeline.synthesis import Encoding, write_video
from tests.pipeline.sandbox import forge
from tests.pipeline.sandbox.attacks import HARMLESS, NO_VIDEO, Attack, Place

TOO_MUCH = frozenset({"limit_exceeded"})


def _patched(kind: str, marker: bytes, offset: int, data: bytes) -> Callable[[Place], bytes]:
    """A real video of `kind` with `data` put over what lies `offset` behind the end of `marker`, wherever that is."""

    def make(_: Place) -> bytes:
        video = bytearray(forge.honest(kind))
        at = video.find(marker)
        assert at >= 0
        while at >= 0:
            start = at + len(marker) + offset
            video[start : start + len(data)] = data
            at = video.find(marker, start)
        return bytes(video)

    return make


def _vp9_of(width: int, height: int) -> Callable[[Place], bytes]:
    """A real VP9 video whose headers say that it is larger; the size starts in the middle of a byte."""

    def make(_: Place) -> bytes:
        video = bytearray(forge.honest("ivf"))
        video[12:16] = struct.pack("<HH", min(width, 65535), min(height, 65535))
        at = video.find(b"\x49\x83\x42")
        size = (width - 1) << 16 | (height - 1)
        head, tail = video[at + 3] >> 4, video[at + 7] & 15
        video[at + 3 : at + 8] = (head << 36 | size << 4 | tail).to_bytes(5, "big")
        return bytes(video)

    return make


def _h264_of(width: int, height: int) -> Callable[[Place], bytes]:
    start = b"\0\0\0\1"
    picture = (
        start + forge.sps(width, height) + start + b"\x68\xce\x38\x80" + start + b"\x65\x88\x84\0\x10" + bytes(100)
    )
    return lambda _: forge.transport([picture] * 30)


def _really_large(_: Place) -> bytes:
    return forge.matroska_of(forge.jpeg(8192, 8192, flat=True), 8192, 8192, range(0, 120, 40))


def _ten() -> bytes:
    return forge.honest("mp4", 10)


@functools.cache
def _flat_4k() -> bytes:
    """Four pictures of 4K, all but the first of which say that nothing changed."""
    with tempfile.TemporaryDirectory() as folder:
        encoding = Encoding(gop=10, b_frames=0, options={"preset": "ultrafast"})
        frames = (np.zeros((2160, 3840, 3), np.uint8) for _ in range(4))
        return write_video(Path(folder) / "v.mp4", frames, fps=25, encoding=encoding).read_bytes()


def _remuxed(
    file: str, times: Callable[[int], tuple[int, int]], count: int, source: Callable[[], bytes] = _ten
) -> Callable[[Place], bytes]:
    """`count` packets in a container for `file`: one real group of pictures, of which all but the first go round.

    Args:
        times: number of a packet -> (pts, dts) in milliseconds.
    """

    def make(place: Place) -> bytes:
        target = place.folder / f"made-{file}"
        with av.open(io.BytesIO(source()), "r") as reader, av.open(str(target), "w") as writer:
            stream = writer.add_stream_from_template(reader.streams.video[0])
            group = [bytes(packet) for packet in reader.demux(video=0) if packet.size]
            packets = [av.Packet(data) for data in group]
            for number in range(count):
                packet = packets[number if number < 1 else 1 + (number - 1) % (len(group) - 1)]
                packet.stream, packet.time_base = stream, Fraction(1, 1000)
                packet.pts, packet.dts = times(number)
                packet.is_keyframe = number == 0
                writer.mux(packet)
        data = target.read_bytes()
        target.unlink()
        return data

    return make


def _table(name: bytes, change: Callable[[bytes], bytes]) -> Callable[[Place], bytes]:
    """A real MP4 with one of its tables of samples changed."""
    path = (b"moov", b"trak", b"mdia", b"minf", b"stbl", name)
    return lambda _: forge.rebox(forge.honest("mp4"), path, change)


def _edits(payload: bytes) -> Callable[[Place], bytes]:
    path = (b"moov", b"trak", b"edts", b"elst")
    return lambda _: forge.rebox(forge.honest("mp4"), path, lambda _: payload)


BOMBS: tuple[Attack, ...] = (
    Attack(
        "ffv1 of 16384x16384",
        "a.avi",
        _patched("ffv1", b"strf", 8, struct.pack("<ii", 16384, 16384)),
        TOO_MUCH | NO_VIDEO,
    ),
    Attack(
        "avi of negative size",
        "a.avi",
        _patched("avi", b"strf", 8, struct.pack("<ii", -16384, -1)),
        HARMLESS | NO_VIDEO,
    ),
    Attack("h264 of 8192x8176", "a.ts", _h264_of(8192, 8176), TOO_MUCH),
    Attack("h264 of 16384x16384", "a.ts", _h264_of(16384, 16384), TOO_MUCH | NO_VIDEO),
    Attack(
        "mjpeg of 65500x65500",
        "a.avi",
        _patched("mjpeg", b"\xff\xc0\0\x11\x08", 0, struct.pack(">HH", 65500, 65500)),
        TOO_MUCH | NO_VIDEO,
    ),
    Attack(
        "mjpeg of 16000x16000",
        "a.mkv",
        lambda _: forge.matroska_of(
            forge.jpeg().replace(
                b"\xff\xc0\0\x11\x08\0\x30\0\x40", b"\xff\xc0\0\x11\x08" + struct.pack(">HH", 16000, 16000)
            ),
            64,
            48,
            range(0, 400, 40),
        ),
        TOO_MUCH | NO_VIDEO,
    ),
    Attack("gif of 65535x65535", "a.gif", _patched("gif", b"GIF89a", 0, b"\xff" * 4), TOO_MUCH | NO_VIDEO),
    Attack("vp9 of 65536x65536", "a.ivf", _vp9_of(65536, 65536), TOO_MUCH | NO_VIDEO | HARMLESS),
    Attack("vp9 of 16000x8000", "a.ivf", _vp9_of(16000, 8000), TOO_MUCH | NO_VIDEO),
    Attack("real pictures of 8192x8192", "a.mkv", _really_large, TOO_MUCH),
    Attack("years", "a.mkv", _remuxed("years.mkv", lambda n: (n * 10**10, n * 10**10), 30), NO_VIDEO | TOO_MUCH),
    Attack("25 hours", "a.mp4", _remuxed("hours.mp4", lambda n: (n * 9 * 10**6, n * 9 * 10**6), 11), TOO_MUCH),
    Attack(
        "an edit list that claims four billion", "a.mp4", _edits(struct.pack(">II", 0, 0xFFFFFFFF)), HARMLESS | NO_VIDEO
    ),
    Attack(
        "an edit list of 200,000",
        "a.mp4",
        _edits(struct.pack(">II", 0, 200_000) + struct.pack(">Iii", 1, 0, 65536) * 200_000),
        TOO_MUCH,
    ),
    Attack("80,000 pictures of nothing", "a.mp4", _remuxed("ratio.mp4", lambda n: (n * 40, n * 40), 80_000), HARMLESS),
    Attack(
        "20,000 large pictures of nothing",
        "a.mp4",
        _remuxed("large.mp4", lambda n: (n * 40, n * 40), 20_000, _flat_4k),
        TOO_MUCH,
    ),
    Attack(
        "two billion samples of no bytes",
        "a.mp4",
        _table(b"stsz", lambda _: struct.pack(">III", 0, 0, 0x7FFFFFFF)),
        NO_VIDEO | TOO_MUCH,
    ),
    Attack(
        "two billion samples of a byte",
        "a.mp4",
        _table(b"stsz", lambda _: struct.pack(">III", 0, 1, 0x7FFFFFFF)),
        NO_VIDEO | TOO_MUCH | HARMLESS,
    ),
    Attack(
        "two billion samples in a chunk",
        "a.mp4",
        _table(b"stsc", lambda _: struct.pack(">IIIII", 0, 1, 1, 0x7FFFFFFF, 1)),
        NO_VIDEO | TOO_MUCH | HARMLESS,
    ),
    Attack(
        "a sample lasts 13 hours",
        "a.mp4",
        _table(b"stts", lambda _: struct.pack(">IIII", 0, 1, 30, 0xFFFFFFF0)),
        NO_VIDEO | TOO_MUCH | HARMLESS,
    ),
)
