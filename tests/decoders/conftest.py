"""Clips of small videos in which every picture shows its own number, so that one under a wrong row is seen at once."""

import math
from collections.abc import Callable
from fractions import Fraction

import msgspec
import numpy as np
import pytest

from pipeline.clips import Clip
from pipeline.cutting import cut
from pipeline.decode.pyav import PyAVDecoder
from pipeline.packets import read_index
from pipeline.plans import plan
from pipeline.sampling import choose
from pipeline.spec import Sampling
from pipeline.synthesis import Encoding, write_video

FPS = 30
BITS = 8


def numbered(count: int, width: int = 160, height: int = 96) -> list[np.ndarray]:
    """uint8 [H, W, 3] each: a soft moving pattern, and the frame's number as eight black or white bars."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    frames = []
    for number in range(count):
        waves = [128 + 50 * np.sin((x * (1 + c) + 4 * number) / 40 + y / (30 + 10 * c)) for c in range(3)]
        frame = np.stack(waves, -1).astype(np.uint8)
        for bit in range(BITS):
            left, right = width * bit // BITS, width * (bit + 1) // BITS
            frame[: height // 3, left:right] = 255 if number >> bit & 1 else 0
        frames.append(frame)
    return frames


def number_of(picture: np.ndarray) -> int | None:
    """The number that a picture shows; None where the bars cannot be read, as after damage."""
    height, width = picture.shape[:2]
    number = 0
    for bit in range(BITS):
        left, right = width * bit // BITS, width * (bit + 1) // BITS
        inside = picture[height // 12 : height // 4, left + (right - left) // 4 : right - (right - left) // 4]
        level = float(inside.mean())
        if 60 < level < 195:
            return None
        number |= (level > 128) << bit
    return number


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio, dB; infinite for equal pictures."""
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


_X265 = "log-level=none:pools=1:frame-threads=1:keyint=12:min-keyint=12"
_VPX = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "16", "auto-alt-ref": "1"}
_FAST = {"preset": "veryfast"}
_ALL = Sampling(fps=FPS)

#: name -> (suffix, encoding, frames, (width, height), what is wanted)
VIDEOS: dict[str, tuple[str, Encoding, int, tuple[int, int], Sampling]] = {
    "h264": ("mp4", Encoding(gop=12, b_frames=2, options=_FAST), 90, (160, 96), Sampling(fps=2)),
    "h264-dense": ("mp4", Encoding(gop=60, b_frames=3, options=_FAST), 16, (160, 96), _ALL),
    "h264-ts": ("ts", Encoding(gop=12, b_frames=2, options=_FAST), 60, (160, 96), Sampling(fps=3)),
    "h264-open": (
        "mkv",
        Encoding(gop=12, b_frames=3, options={"x264-params": "open-gop=1:scenecut=0"}),
        90,
        (160, 96),
        Sampling(fps=3),
    ),
    "h264-hd": ("mp4", Encoding(gop=6, options=_FAST), 12, (1280, 720), Sampling(fps=10)),
    "hevc": (
        "mp4",
        Encoding("libx265", gop=12, options={"preset": "ultrafast", "x265-params": f"{_X265}:open-gop=0"}),
        60,
        (160, 96),
        Sampling(fps=2),
    ),
    "hevc-open": (
        "mkv",
        Encoding("libx265", gop=12, b_frames=3, options=_FAST | {"x265-params": f"{_X265}:open-gop=1"}),
        60,
        (160, 96),
        Sampling(fps=3),
    ),
    "vp8": ("webm", Encoding("libvpx", gop=20, bit_rate_bps=400_000, options=_VPX), 60, (160, 96), Sampling(fps=3)),
    "vp9": ("webm", Encoding("libvpx-vp9", gop=20, bit_rate_bps=400_000, options=_VPX), 60, (160, 96), Sampling(fps=3)),
    "vp9-odd": ("webm", Encoding("libvpx-vp9", gop=8, bit_rate_bps=400_000, options=_VPX), 24, (161, 97), _ALL),
    "vp9-hd": (
        "webm",
        Encoding("libvpx-vp9", gop=6, bit_rate_bps=4_000_000, options=_VPX),
        12,
        (1280, 720),
        Sampling(fps=10),
    ),
    "av1": (
        "mp4",
        Encoding("libsvtav1", gop=20, options={"preset": "12", "svtav1-params": "lp=1"}),
        60,
        (160, 96),
        Sampling(fps=3),
    ),
    "mpeg4": ("avi", Encoding("mpeg4", gop=12, b_frames=2, bit_rate_bps=2_000_000), 60, (160, 96), Sampling(fps=3)),
    "mpeg2": (
        "ts",
        Encoding("mpeg2video", gop=12, b_frames=2, bit_rate_bps=2_000_000, clock=Fraction(1, FPS)),
        60,
        (160, 96),
        Sampling(fps=3),
    ),
    "mjpeg": ("mkv", Encoding("mjpeg", pixel_format="yuvj420p"), 30, (160, 96), Sampling(fps=6)),
}


class Cut:
    """The first Clip of a video that is a whole chain, and what is known of it."""

    def __init__(self, clip: Clip, numbers: dict[int, int]) -> None:
        self.clip = clip
        self.numbers = numbers
        """Row -> the number that its picture shows."""
        shown = tuple(row for row, time_s in zip(clip.rows, clip.times_s, strict=True) if not math.isnan(time_s))
        decoded = PyAVDecoder().decode(msgspec.structs.replace(clip, wanted=shown))
        self.pictures = dict(zip(decoded.rows, decoded.frames.pixels, strict=True))
        """Row -> its picture as the reference decodes it, wanted or not."""


@pytest.fixture(scope="session")
def cut_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Cut]:
    """Name of a video -> its Clip, made when first asked for."""
    made: dict[str, Cut] = {}

    def make(name: str) -> Cut:
        if name not in made:
            suffix, encoding, count, size, sampling = VIDEOS[name]
            path = tmp_path_factory.mktemp(name) / f"video.{suffix}"
            write_video(path, numbered(count, *size), fps=FPS, encoding=encoding)
            index = read_index(path)
            clips = cut(path, index, plan(index, choose(index, sampling)))
            whole = next(clip for clip in clips if not clip.part and clip.last and len(clip.wanted) > 2)
            made[name] = Cut(whole, {int(row): number for number, row in enumerate(index.display_order)})
        return made[name]

    return make
