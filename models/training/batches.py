"""Training batches: rendered frames, captions, and the truth of every pair of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image

from models.training.captions import Caption, sample_caption
from models.training.facts import TAUGHT, answers, without_hints
from models.training.sampling import sample_scene
from models.training.scenes import Scene, render

FRAME_SIZES = ((160, 90), (192, 108), (128, 72), (144, 144), (160, 120), (90, 160))
"""Widths and heights frames are drawn at before they are squashed to the model's square, as a video's frames are."""

_FRAME_ODDS = (0.3, 0.2, 0.15, 0.17, 0.13, 0.05)
_ON_TEXTURE = 0.15
"""Share of the scenes with objects that get a texture behind them on top of the usual 6 %: at 6 % alone, the colour of
an object on a texture was wrong two times in three, and those were two thirds of all mistakes."""

_POOL = 4000
"""Renders kept to be used again, flipped or not, under new captions: drawing costs as much as learning from it."""

_USES = 4
"""How often a render is used, on average."""


class Batch(NamedTuple):
    """What one training step sees."""

    pixels: torch.Tensor
    """uint8 [images, 3, size, size]."""
    tokens: torch.Tensor
    """int64 [captions, longest caption]."""
    truth: torch.Tensor
    """int8 [images, captions]: 1 true, -1 false, 0 unclear (not learnt from)."""
    answers: torch.Tensor
    """int8 [images, len(TAUGHT)]: the same for the plain facts, without words."""


_TAUGHT_INDEX = np.array(TAUGHT)


def shrink(pixels: np.ndarray, size: int) -> np.ndarray:
    """Squash a frame to the model's input the way its preprocessing does: uint8 [size, size, 3]."""
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC))


def render_frame(scene: Scene, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a scene at a random frame size and squash it: uint8 [size, size, 3]."""
    width, height = FRAME_SIZES[int(rng.choice(len(FRAME_SIZES), p=_FRAME_ODDS))]
    return shrink(render(scene, width, height, supersample=1), size)


def truth_table(scene_answers: np.ndarray, captions: Sequence[Caption]) -> np.ndarray:
    """Answers int8 [scenes, facts] and captions to the truth of each pair: int8 [scenes, captions]."""
    return np.stack([scene_answers[:, list(caption.facts)].min(axis=1) for caption in captions], axis=1)


class Batches:
    """An endless stream of batches, the same one for the same seed."""

    def __init__(self, tokenizer: SimpleTokenizer, *, size: int, images: int, seed: int) -> None:
        """`size` is the side of a frame in pixels, `images` their number in a batch; captions are twice as many."""
        self._tokenizer = tokenizer
        self._size = size
        self._images = images
        self._seed = seed

    def __iter__(self) -> Iterator[Batch]:
        rng = np.random.default_rng((self._seed, 1))
        pool: list[tuple[Scene, np.ndarray, np.ndarray]] = []
        while True:
            fresh: list[tuple[Scene, np.ndarray, np.ndarray]] = []
            for _ in range(self._images // _USES if len(pool) >= self._images else self._images):
                scene = sample_scene(rng, on_texture=_ON_TEXTURE)
                fresh.append((scene, render_frame(scene, self._size, rng), without_hints(scene, answers(scene))))
            again = [pool[int(i)] for i in rng.choice(len(pool) or 1, self._images - len(fresh), replace=False)]
            yield self._batch(fresh + again, rng)
            pool = (pool + fresh)[-_POOL:]

    def _batch(self, entries: list[tuple[Scene, np.ndarray, np.ndarray]], rng: np.random.Generator) -> Batch:
        frames = np.stack([frame[:, ::-1] if rng.random() < 0.5 else frame for _, frame, _ in entries])
        captions = [sample_caption(rng, scene) for scene, _, _ in entries for _ in range(rng.integers(1, 3))]
        captions += [sample_caption(rng) for _ in range(2 * len(entries) - len(captions))]
        tokens = self._tokenizer([caption.text for caption in captions])
        longest = int(tokens.argmax(dim=1).max()) + 1  # the end mark has the highest id
        tables = np.stack([table for _, _, table in entries])
        truth = truth_table(tables, captions)
        pixels = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))
        taught = torch.from_numpy(tables[:, _TAUGHT_INDEX])
        return Batch(pixels, tokens[:, :longest].contiguous(), torch.from_numpy(truth), taught)
