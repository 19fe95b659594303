"""One minute of cheap video, repeated packet by packet to any length: an hour of it is written in seconds."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from pipeline.synthesis import AUDIO_RATE_HZ, Encoding, write_video

FOLDER = Path("build/corpus/long")
WIDTH, HEIGHT, FPS, MINUTE_S = 640, 360, 25, 60

_ENCODING = Encoding(gop=100, b_frames=2, options={"preset": "superfast", "crf": "28"})


def written(minutes: int, folder: Path = FOLDER) -> Path:
    """A valid MP4 (H.264 and AAC) of so many minutes."""
    folder.mkdir(parents=True, exist_ok=True)
    one, path = folder / "minute.mp4", folder / f"{minutes}-minutes.mp4"
    if not one.exists():
        unfinished = folder / ".minute.mp4"
        write_video(unfinished, _frames(), fps=FPS, encoding=_ENCODING, audio=_sound()).rename(one)
    if not path.exists():
        repeat(one, minutes, folder / f".{path.name}").rename(path)
    return path


def repeat(source: Path, times: int, path: Path, length_s: int = MINUTE_S) -> Path:
    """`source`, a file of `length_s`, so many times in a row in `path`: its packets with later time stamps."""
    with av.open(str(path), "w") as target:
        streams = {}
        for number in range(times):
            with av.open(str(source)) as container:
                for stream in container.streams:
                    if stream.index not in streams:
                        streams[stream.index] = target.add_stream_from_template(stream)
                for packet in container.demux():
                    if packet.size == 0 or packet.pts is None or packet.dts is None:
                        continue
                    unit = Fraction(packet.time_base)
                    # The encoder's run-in before zero, and what overhangs, would collide with the copy next to it.
                    sound = packet.stream.type == "audio"
                    if sound and (packet.pts < 0 or (packet.pts + (packet.duration or 0)) * unit > length_s):
                        continue
                    shift = int(number * length_s / unit)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = streams[packet.stream.index]
                    target.mux(packet)
    return path


def _frames() -> Iterator[np.ndarray]:
    """uint8 [HEIGHT, WIDTH, 3]: a coloured box glides over a gradient, another scene every six seconds."""
    rng = np.random.default_rng(5)
    across = np.linspace(0, 90, WIDTH, dtype=np.float32)[None, :, None]
    down = np.linspace(0, 60, HEIGHT, dtype=np.float32)[:, None, None]
    for number in range(MINUTE_S * FPS):
        if number % (6 * FPS) == 0:
            background = (across + down + rng.uniform(0, 100, 3)).astype(np.uint8)
            color, speed, top = rng.integers(0, 256, 3), rng.uniform(1, 5), int(rng.integers(0, HEIGHT - 90))
        picture = background.copy()
        left = int(number * speed) % (WIDTH - 120)
        picture[top : top + 90, left : left + 120] = color
        yield picture


def _sound() -> np.ndarray:
    """float32 [S]: a quiet tone with a beep every two seconds."""
    times_s = np.arange(MINUTE_S * AUDIO_RATE_HZ) / AUDIO_RATE_HZ
    loud = np.where(times_s % 2 < 0.2, 0.5, 0.05)
    return (loud * np.sin(2 * np.pi * 440 * times_s)).astype(np.float32)
