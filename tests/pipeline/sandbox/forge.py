"""Builds and bends containers byte by byte: MP4 boxes, RIFF chunks, EBML elements, H.264 headers."""

import functools
import struct
import tempfile
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from pipeline.synthesis import Encoding, write_video

WIDTH, HEIGHT = 64, 48

_VPX = {"deadline": "realtime", "cpu-used": "8"}

#: kind -> (suffix, encoding) of the small honest videos that attacks are bent out of.
SEEDS: dict[str, tuple[str, Encoding]] = {
    "mp4": ("mp4", Encoding(gop=10, b_frames=2, options={"preset": "ultrafast"})),
    "fragmented": (
        "mp4",
        Encoding(
            gop=10,
            b_frames=0,
            options={"preset": "ultrafast"},
            container_options={"movflags": "frag_keyframe+empty_moov"},
        ),
    ),
    "mkv": ("mkv", Encoding("libvpx-vp9", gop=10, bit_rate_bps=200_000, options=_VPX)),
    "webm": ("webm", Encoding("libsvtav1", gop=10, options={"preset": "12", "svtav1-params": "lp=1"})),
    "ts": ("ts", Encoding("mpeg2video", gop=10, b_frames=2, bit_rate_bps=400_000, clock=Fraction(1, 25))),
    "avi": ("avi", Encoding("mpeg4", gop=10, b_frames=0, bit_rate_bps=400_000)),
    "mjpeg": ("avi", Encoding("mjpeg", pixel_format="yuvj420p")),
    "ffv1": ("avi", Encoding("ffv1")),
    "gif": ("gif", Encoding("gif", pixel_format="rgb8")),
    "ivf": ("ivf", Encoding("libvpx-vp9", gop=10, bit_rate_bps=200_000, options=_VPX)),
}


def moving(count: int, width: int = WIDTH, height: int = HEIGHT) -> list[np.ndarray]:
    """Frames of coloured noise that drifts: no two alike, some kB each when encoded."""
    rng = np.random.default_rng(7)
    texture = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    return [np.roll(texture, (n, 2 * n), (0, 1)) for n in range(count)]


@functools.cache
def honest(kind: str, count: int = 30, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A real little video as bytes."""
    suffix, encoding = SEEDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        path = write_video(Path(folder) / f"v.{suffix}", moving(count, width, height), fps=25, encoding=encoding)
        return path.read_bytes()


@functools.cache
def jpeg(width: int = WIDTH, height: int = HEIGHT, *, flat: bool = False) -> bytes:
    """One JPEG picture; a flat one is small."""
    context = av.CodecContext.create("mjpeg", "w")
    context.width, context.height, context.pix_fmt, context.time_base = width, height, "yuvj420p", Fraction(1, 25)
    frame = av.VideoFrame(width, height, "yuvj420p")
    if flat:
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
    else:
        frame = av.VideoFrame.from_ndarray(moving(1, width, height)[0], format="rgb24").reformat(format="yuvj420p")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in (*context.encode(frame), *context.encode(None)))


def box(kind: bytes, payload: bytes) -> bytes:
    """An MP4 box."""
    return struct.pack(">I", len(payload) + 8) + kind + payload


def rebox(data: bytes, path: Sequence[bytes], change: Callable[[bytes], bytes]) -> bytes:
    """`data`, a run of MP4 boxes, with the payload of the box at `path` changed. Any `mdat` lies before the index."""
    out, at = [], 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        payload = data[at + 8 : at + size]
        if kind == path[0]:
            payload = change(payload) if len(path) == 1 else rebox(payload, path[1:], change)
        out.append(box(kind, payload))
        at += size
    return b"".join(out)


def chunk(kind: bytes, payload: bytes) -> bytes:
    """A RIFF chunk, padded to an even length."""
    return kind + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """(kind, payload) of a run of RIFF chunks."""
    out, at = [], 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        out.append((kind, data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return out


def with_subtitles(avi: bytes, text: bytes, copies: int = 1) -> bytes:
    """`avi` with `copies` more streams, of subtitles; the first of them holds `text` as embedded file (GAB2)."""
    header = struct.pack("<4s4sIHHIIIIIIIIhhhh", b"txts", b"", 0, 0, 0, 0, 1, 25, 0, 1, 0, 0, 0, 0, 0, 0, 0)
    stream = chunk(b"LIST", b"strl" + chunk(b"strh", header) + chunk(b"strf", b""))
    gab2 = b"GAB2\0\2\0" + struct.pack("<I", 4) + b"a\0\0\0" + b"\4\0" + struct.pack("<I", len(text)) + text
    out = []
    for kind, payload in chunks(avi[12:]):
        if payload[:4] == b"hdrl":
            out.append(chunk(kind, payload + stream * copies))
        elif payload[:4] == b"movi":
            out.append(chunk(kind, b"movi" + chunk(b"01tx", gab2) + payload[4:]))
    return chunk(b"RIFF", b"AVI " + b"".join(out))


def element(number: int, payload: bytes = b"") -> bytes:
    """An EBML element with a size of eight bytes."""
    return (
        number.to_bytes((number.bit_length() + 7) // 8, "big") + (1 << 56 | len(payload)).to_bytes(8, "big") + payload
    )


def unsigned(number: int, value: int) -> bytes:
    """An EBML element that holds a number."""
    return element(number, value.to_bytes(8, "big"))


#: Size of an EBML element that says that it does not know.
UNKNOWN_SIZE = b"\x01" + b"\xff" * 7

EBML = element(
    0x1A45DFA3,
    unsigned(0x4286, 1)
    + unsigned(0x42F7, 1)
    + element(0x4282, b"matroska")
    + unsigned(0x4287, 4)
    + unsigned(0x4285, 2),
)


def track(number: int, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A Matroska track of JPEG pictures."""
    size = element(0xE0, unsigned(0xB0, width) + unsigned(0xBA, height))
    return element(
        0xAE, unsigned(0xD7, number) + unsigned(0x73C5, number) + unsigned(0x83, 1) + element(0x86, b"V_MJPEG") + size
    )


def empty_track(number: int, kind: int, codec: bytes) -> bytes:
    """A Matroska track of sound (2) or subtitles (17) that holds nothing."""
    head = unsigned(0xD7, number) + unsigned(0x73C5, number) + unsigned(0x83, kind)
    return element(0xAE, head + element(0x86, codec))


def matroska(
    times: Sequence[int] = (0, 40, 80, 120),
    *,
    tracks: int = 1,
    other_tracks: bytes = b"",
    info: bytes = b"",
    more: bytes = b"",
    scale: int = 10**6,
) -> bytes:
    """A Matroska file of JPEG pictures, a cluster each.

    Args:
        times: of each cluster, in units of `scale` nanoseconds.
        tracks: how many; every picture is in one of them, in turn.
        other_tracks: elements of tracks that hold nothing.
        info: elements that are added to the segment's information.
        more: elements that are added to the segment.
    """
    head = element(0x1549A966, unsigned(0x2AD7B1, scale) + info)
    head += element(0x1654AE6B, b"".join(track(n + 1) for n in range(tracks)) + other_tracks) + more
    clusters = [_cluster(time, n % tracks + 1, jpeg()) for n, time in enumerate(times)]
    return EBML + element(0x18538067, head + b"".join(clusters))


def matroska_of(picture: bytes, width: int, height: int, times: Iterable[int]) -> bytes:
    """A Matroska file of one JPEG over and over, at `times` in milliseconds."""
    head = element(0x1549A966, unsigned(0x2AD7B1, 10**6)) + element(0x1654AE6B, track(1, width, height))
    return EBML + element(0x18538067, head + b"".join(_cluster(time, 1, picture) for time in times))


def _cluster(time: int, track_number: int, picture: bytes) -> bytes:
    block = (0x4000 | track_number).to_bytes(2, "big") + b"\0\0\x80" + picture
    return element(0x1F43B675, unsigned(0xE7, time % (1 << 64)) + element(0xA3, block))


def sps(width: int, height: int) -> bytes:
    """An H.264 sequence parameter set (ITU-T H.264, 7.3.2.1.1; Baseline) of this many pixels."""

    def ue(value: int) -> str:
        bits = bin(value + 1)[2:]
        return "0" * (len(bits) - 1) + bits

    bits = (
        ue(0) + ue(0) + ue(2) + ue(1) + "0" + ue(width // 16 - 1) + ue(height // 16 - 1) + "1" + "1" + "0" + "0" + "1"
    )
    bits += "0" * (-len(bits) % 8)
    return b"\x67\x42\x00\x3e" + int(bits, 2).to_bytes(len(bits) // 8, "big")


def transport(pictures: Sequence[bytes], stream_type: int = 0x1B) -> bytes:
    """An MPEG transport stream of one elementary stream (H.264); 40 ms a picture, each one packet of the stream."""

    def section(pid: int, payload: bytes) -> bytes:
        body = b"\0" + payload + _crc(payload)
        return b"\x47" + (0x4000 | pid).to_bytes(2, "big") + b"\x10" + body.ljust(184, b"\xff")

    out = [
        section(0, bytes([0, 0xB0, 13, 0, 1, 0xC1, 0, 0, 0, 1, 0xF0, 0])),
        section(0x1000, bytes([2, 0xB0, 18, 0, 1, 0xC1, 0, 0, 0xE1, 0, 0xF0, 0, stream_type, 0xE1, 0, 0xF0, 0])),
    ]
    counter = 0
    for number, picture in enumerate(pictures):
        pts = 90_000 + 3600 * number
        stamp = bytes([0x21 | pts >> 29 & 14, pts >> 22 & 255, pts >> 14 & 254 | 1, pts >> 7 & 255, pts << 1 & 254 | 1])
        data = b"\0\0\1\xe0\0\0\x80\x80\5" + stamp + picture
        for at in range(0, len(data), 184):
            part = data[at : at + 184]
            stuffing = 184 - len(part)
            field = (
                bytes([stuffing - 1]) + (b"\0" + b"\xff" * (stuffing - 2) if stuffing > 1 else b"") if stuffing else b""
            )
            start = 0x4100 if at == 0 else 0x100
            out.append(
                b"\x47" + start.to_bytes(2, "big") + bytes([(0x30 if stuffing else 0x10) | counter]) + field + part
            )
            counter = (counter + 1) % 16
    return b"".join(out)


def _crc(data: bytes) -> bytes:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value >> 31 else 0)) & 0xFFFFFFFF
    return value.to_bytes(4, "big")
