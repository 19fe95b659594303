"""Strips of thumbnails from pictures that are RGB at full size already, on any device.

Their brightness is that of PyAV's (`pipeline.thumbs`); colours, which FFmpeg's area scaler picks here and there and
which are averaged here, differ where they are finely grained (measured: 25 dB on 720 lines of narrow coloured waves).
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.clips import Clip
from pipeline.frames import Strip
from pipeline.thumbs import ALONG_S, THUMB_SIZE

if TYPE_CHECKING:
    import torch


def rows_of(clip: Clip) -> set[int]:
    """Rows of the pictures that the Clip's strip is made of: those asked for, and others that are not too near to the
    one before."""
    chosen = set()
    last_s = -math.inf
    for _, row, time_s in sorted(zip(clip.ranks, clip.rows, clip.times_s, strict=True)):
        if not math.isnan(time_s) and (row in clip.glimpsed or not 0 <= time_s - last_s < ALONG_S - 1e-3):
            chosen.add(row)
            last_s = time_s
    return chosen


def shrunk(pixels: "torch.Tensor") -> np.ndarray:
    """uint8 [N, H, W, 3] on any device -> uint8 [N, 27, 48, 3], area-averaged, on the host; not turned upright."""
    from torch.nn import functional

    width, height = THUMB_SIZE
    small = functional.interpolate(pixels.permute(0, 3, 1, 2).float(), size=(height, width), mode="area")
    return small.round().byte().permute(0, 2, 3, 1).cpu().numpy()


def strip(clip: Clip, rows: Sequence[int], thumbs: Sequence[np.ndarray]) -> Strip:
    """A strip of thumbnails (uint8 [n, 27, 48, 3] each) of these rows, which are in display order."""
    time_of = dict(zip(clip.rows, clip.times_s, strict=True))
    width, height = THUMB_SIZE
    pictures = np.concatenate(thumbs) if thumbs else np.empty((0, height, width, 3), np.uint8)
    return Strip(np.array([time_of[row] for row in rows], np.float64), pictures)
