"""Small videos in every codec and container that exactness is promised for, made once a session."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.synthesis import Encoding, write_video

WIDTH, HEIGHT, FPS = 160, 96, 30


def busy_frames(count: int, seed: int = 0) -> list[np.ndarray]:
    """Moving texture with a box and hard cuts every 70 frames: no two frames alike, so a wrong one shows."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    frames = []
    for number in range(count):
        frame = np.roll(texture, (number * 2, number * 3), (0, 1)).copy()
        if (number // 70) % 2:
            frame = 255 - frame
        left = number * 3 % (WIDTH - 30)
        frame[20:50, left : left + 30] = (number * 2 % 256, 255 - number % 256, 128)
        frames.append(frame)
    return frames


def uneven_times(count: int) -> list[float]:
    """A variable rate: 30 frames/s with every seventh frame held three times as long and a hole of a second."""
    times, now = [], 0.0
    for number in range(count):
        times.append(now)
        now += (3 if number % 7 == 0 else 1) / FPS
        if number == count // 2:
            now += 1.0
    return times


_X265 = "log-level=none:pools=1:frame-threads=1:keyint=12:min-keyint=12"
_VPX = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "16", "auto-alt-ref": "1"}

#: name -> (file name, encoding). Each is written at a constant rate, and where the container holds one, a variable one.
ENCODINGS: dict[str, tuple[str, Encoding]] = {
    "h264-gop12": ("mp4", Encoding(gop=12, b_frames=2, options={"preset": "veryfast"})),
    "h264-gop60": ("mp4", Encoding(gop=60, b_frames=3, options={"preset": "veryfast"})),
    "h264-gop250": ("mkv", Encoding(gop=250, b_frames=3, options={"preset": "veryfast", "x264-params": "scenecut=0"})),
    "h264-no-b": ("mp4", Encoding(gop=60, b_frames=0, options={"preset": "ultrafast"})),
    "h264-open": (
        "mp4",
        Encoding(gop=12, b_frames=3, options={"x264-params": "open-gop=1:scenecut=0:b-pyramid=normal"}),
    ),
    "h264-open-ts": ("ts", Encoding(gop=12, b_frames=3, options={"x264-params": "open-gop=1:scenecut=0"})),
    "h264-refresh": ("mkv", Encoding(gop=40, b_frames=0, options={"x264-params": "intra-refresh=1"})),
    "hevc-closed": (
        "mp4",
        Encoding("libx265", gop=12, options={"preset": "ultrafast", "x265-params": f"{_X265}:open-gop=0"}),
    ),
    "hevc-open": (
        "mp4",
        Encoding("libx265", gop=12, b_frames=3, options={"preset": "veryfast", "x265-params": f"{_X265}:open-gop=1"}),
    ),
    "hevc-open-ts": (
        "ts",
        Encoding("libx265", gop=12, b_frames=3, options={"preset": "veryfast", "x265-params": f"{_X265}:open-gop=1"}),
    ),
    "vp8": ("webm", Encoding("libvpx", gop=30, bit_rate_bps=400_000, options=_VPX)),
    "vp9": ("webm", Encoding("libvpx-vp9", gop=30, bit_rate_bps=400_000, options=_VPX)),
    "av1": ("mp4", Encoding("libsvtav1", gop=30, options={"preset": "12", "svtav1-params": "lp=1"})),
    "av1-mkv": ("mkv", Encoding("libsvtav1", gop=30, options={"preset": "12", "svtav1-params": "lp=1"})),
    "mpeg4-avi": ("avi", Encoding("mpeg4", gop=12, b_frames=2, bit_rate_bps=2_000_000)),
    "mpeg2-ts": ("ts", Encoding("mpeg2video", gop=12, b_frames=2, bit_rate_bps=2_000_000, clock=Fraction(1, FPS))),
    "mjpeg": ("mkv", Encoding("mjpeg", pixel_format="yuvj420p")),
    "prores": ("mov", Encoding("prores_ks", pixel_format="yuv422p10le")),
}

#: Containers without time stamps of their own hold no variable rate.
CONSTANT_ONLY = {"avi"}

#: Codecs whose encoders take seconds get fewer frames; the long group needs more than 250.
_FRAMES = {"h264-gop250": 330, "hevc-open": 100, "hevc-open-ts": 100, "hevc-closed": 100}

CASES = [
    f"{name}-{rate}"
    for name, (suffix, _) in ENCODINGS.items()
    for rate in ("cfr", "vfr")
    if rate == "cfr" or suffix not in CONSTANT_ONLY
] + ["edit-list", "packed-b", "late-start-ts"]


def _encoded(path: Path, name: str, rate: str) -> Path:
    _, encoding = ENCODINGS[name]
    count = _FRAMES.get(name, 150)
    times = uneven_times(count) if rate == "vfr" else None
    return write_video(path, busy_frames(count), fps=FPS, encoding=encoding, times_s=times)


def remux(source: Path, target: Path, change: Callable[[list], list], **options: str) -> Path:
    """Copy the packets of `source` after `change` had its way with the list."""
    with av.open(str(source)) as reader, av.open(str(target), "w", container_options=options) as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for packet in change([packet for packet in reader.demux(video=0) if packet.size]):
            packet.stream = stream
            writer.mux(packet)
    return target


def _edit_list(folder: Path) -> Path:
    """An MP4 whose edit list starts 17 frames into the first group: they are needed but not shown."""
    source = write_video(folder / "plain.mp4", busy_frames(150), fps=FPS, encoding=Encoding(gop=30, b_frames=2))

    def shift(packets: list) -> list:
        for packet in packets:
            offset = round(Fraction(17, FPS) / packet.time_base)
            packet.pts, packet.dts = packet.pts - offset, packet.dts - offset
        return packets

    return remux(source, folder / "edit.mp4", shift, avoid_negative_ts="disabled")


def _packed_b_frames(folder: Path) -> Path:
    """An AVI as DivX 5 wrote it: a P and the following B picture in one packet, then a packet that holds nothing."""
    plain = folder / "unpacked.avi"
    write_video(
        plain, busy_frames(150), fps=FPS, encoding=Encoding("mpeg4", gop=15, b_frames=1, bit_rate_bps=2_000_000)
    )
    target = folder / "packed.avi"
    marker = b"\x00\x00\x01\xb2DivX503b1393p"
    nothing = b"\x00\x00\x01\xb6\x50\x80\x00\x00"
    with av.open(str(plain)) as reader, av.open(str(target), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        stream.codec_context.extradata = reader.streams.video[0].codec_context.extradata + marker
        packets = [packet for packet in reader.demux(video=0) if packet.size]
        payloads = [bytes(packet) for packet in packets]
        kinds = [data[data.find(b"\x00\x00\x01\xb6") + 4] >> 6 for data in payloads]
        packed: list[tuple[bytes, bool]] = []
        at = 0
        while at < len(payloads):
            follows = at + 1 < len(payloads) and kinds[at + 1] == 2
            key = kinds[at] == 0
            head = marker if key else b""
            packed.append((head + payloads[at] + (payloads[at + 1] if follows else b""), key))
            if follows:
                packed.append((nothing, False))
            at += 2 if follows else 1
        for number, (data, key) in enumerate(packed):
            packet = av.Packet(len(data))
            packet.update(data)
            packet.stream, packet.time_base = stream, Fraction(1, FPS)
            packet.pts = packet.dts = number
            packet.is_keyframe = key
            writer.mux(packet)
    return target


def _late_start(folder: Path) -> Path:
    """A transport stream cut out of a longer one: it starts in the middle of a group, at a late time."""
    source = write_video(
        folder / "whole.ts",
        busy_frames(150),
        fps=FPS,
        encoding=Encoding("mpeg2video", gop=12, b_frames=2, bit_rate_bps=2_000_000),
    )
    return remux(source, folder / "late.ts", lambda packets: packets[7:])


SPECIAL: dict[str, Callable[[Path], Path]] = {
    "edit-list": _edit_list,
    "packed-b": _packed_b_frames,
    "late-start-ts": _late_start,
}


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """case name -> its file, written when first asked for."""
    made: dict[str, Path] = {}

    def make(case: str) -> Path:
        if case not in made:
            folder = tmp_path_factory.mktemp(case)
            if case in SPECIAL:
                made[case] = SPECIAL[case](folder)
            else:
                name, rate = case.rsplit("-", 1)
                made[case] = _encoded(folder / f"video.{ENCODINGS[name][0]}", name, rate)
        return made[case]

    return make
