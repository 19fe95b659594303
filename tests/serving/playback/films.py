"""Films whose every frame says which it is: a colour of its own, in a picture of 128 by 96."""

from pathlib import Path

import numpy as np

from pipeline.synthesis import Encoding, write_video

FPS = 25
WIDTH, HEIGHT = 128, 96

#: Half seconds of a film go through these, RGB.
COLOURS = ((220, 30, 30), (30, 200, 30), (40, 40, 220), (220, 200, 40), (200, 40, 200), (40, 200, 200))

HALF = FPS // 2


def colour_at(time_s: float) -> tuple[int, int, int]:
    """What is shown at a time; each half second another."""
    return COLOURS[int(time_s * 2 + 1e-6) % len(COLOURS)]


def film(path: Path, encoding: Encoding, seconds: float = 10.0, *, sound: bool = True) -> Path:
    """Written with a tone of 440 Hz."""
    count = round(seconds * FPS)
    frames = (np.full((HEIGHT, WIDTH, 3), colour_at(number / FPS), np.uint8) for number in range(count))
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(48_000 * seconds)) / 48_000)
    return write_video(path, frames, fps=FPS, encoding=encoding, audio=tone.astype(np.float32) if sound else None)


#: As cameras and editors write them: B-frames that others refer to, two seconds between keyframes.
H264 = Encoding(gop=50, b_frames=3, options={"preset": "ultrafast", "x264-params": "b-pyramid=normal:bframes=3"})
CLOSED_GOP = Encoding(gop=30, options={"preset": "ultrafast", "x264-params": "keyint=30:bframes=3:b-adapt=0"})
HEVC = Encoding(codec="libx265", gop=50, options={"preset": "ultrafast", "x265-params": "log-level=none:pools=1"})
VP9 = Encoding(codec="libvpx-vp9", gop=50, container="webm", options={"deadline": "realtime", "cpu-used": "8"})
AV1 = Encoding(codec="libsvtav1", gop=50, options={"preset": "12", "svtav1-params": "lp=1"})
