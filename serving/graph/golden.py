"""The Clip that new models have to have an answer to before anybody's Clip is given to them."""

import functools
import tempfile
from pathlib import Path

import numpy as np

from pipeline.clips import Clip
from pipeline.media import LocalMedia
from pipeline.plans import plan
from pipeline.synthesis import Encoding, write_video

#: Pictures in it; the models are given every second one, so that a decoder has to tell them apart.
_PICTURES = 8

_HEIGHT, _WIDTH = 96, 160


@functools.cache
def golden_clip() -> Clip:
    """A real H.264 Clip that wants four pictures, each unlike the others. Made here, so it may be read here."""
    with tempfile.TemporaryDirectory(prefix="automations-golden-") as folder:
        path = write_video(Path(folder) / "golden.mp4", _pictures(), fps=8, encoding=Encoding(gop=_PICTURES))
        media = LocalMedia(path)
        index = media.inspect().index
        (clip,) = media.clips(index, plan(index, index.display_order[::2]))
        return clip


def _pictures() -> list[np.ndarray]:
    """uint8 [H, W, 3] RGB each: a square of another colour on other ground, that moves."""
    ramp = np.linspace(0, 255, _WIDTH, dtype=np.uint8)
    colours = ((255, 0, 0), (0, 200, 0), (0, 0, 255), (255, 255, 255))
    pictures = []
    for number in range(_PICTURES):
        picture = np.zeros((_HEIGHT, _WIDTH, 3), np.uint8)
        picture[..., number % 3] = np.roll(ramp, 20 * number) // 2
        picture[20:70, 15 * number : 15 * number + 50] = colours[number // 2]
        pictures.append(picture)
    return pictures
