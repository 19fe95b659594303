"""Slides that stand still, and a moving picture of the same length: what reuse gains on, and what it must not touch."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.corpus import long
from benchmarks.corpus.shot_backgrounds import fractal, paint, palette
from pipeline.synthesis import Encoding, write_video

FOLDER = Path("build/corpus/slides")
WIDTH, HEIGHT, FPS, SCENE_S, SCENES = 640, 360, 25, 8, 8

#: Of a slide, seconds in which it fades to the next one; the others stand still.
FADE_S = 1

#: Of the frames of slides: how many look like the one before.
SHARE_STILL = 1 - (1 + 2 * FADE_S) / (2 * SCENE_S)

_ENCODING = Encoding(gop=100, b_frames=2, options={"preset": "superfast", "crf": "26"})


def written(*, moving: bool, scenes: int = SCENES, times: int = 1, folder: Path = FOLDER) -> Path:
    """An MP4 of so many scenes, repeated so many times."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = "moving" if moving else "slides"
    one, path = folder / f"{kind}-{scenes}.mp4", folder / f"{kind}-{scenes}x{times}.mp4"
    if not one.exists():
        write_video(folder / f".{one.name}", _frames(scenes, moving), fps=FPS, encoding=_ENCODING).rename(one)
    if times == 1:
        return one
    if not path.exists():
        long.repeat(one, times, folder / f".{path.name}", scenes * SCENE_S).rename(path)
    return path


def _frames(scenes: int, moving: bool) -> Iterator[np.ndarray]:
    pictures = [_picture(seed) for seed in range(scenes + 1)]
    for number in range(scenes):
        for at in range(SCENE_S * FPS):
            if moving:
                yield np.roll(pictures[number], 3 * at, axis=1)
                continue
            into = max(0.0, (at / FPS - (SCENE_S - FADE_S)) / FADE_S)
            mixed = (1 - into) * pictures[number] + into * pictures[number + 1]
            yield mixed.astype(np.uint8)


def _picture(seed: int) -> np.ndarray:
    """uint8 [HEIGHT, WIDTH, 3]: a heading and lines of something like text on a soft ground."""
    rng = np.random.default_rng(seed)
    ground = paint(fractal(rng, HEIGHT, WIDTH, slope=2.0), palette(rng)).astype(np.uint8)
    for line in range(6):
        top = 50 + 45 * line
        left = 60
        while left < 420:
            right = left + int(rng.integers(10, 60))
            ground[top : top + 18, left:right] = rng.integers(0, 60, 3)
            left = right + 8
    return ground
