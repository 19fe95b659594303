"""Which frames of a Clip look the same as one before: slides, title cards, cameras that watch an empty room.

What a model says of them is the same to the third digit (`python -m benchmarks models` has the figures), so that a
caller who allows it has them looked at once.
"""

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from models.base import Pixels

if TYPE_CHECKING:
    from pipeline.clips import Clip
    from pipeline.engine import Engine
    from pipeline.frames import ClipOutput

SIDE = 32
"""Rows and columns of the grid of points at which frames are compared: a change that is missed by all of 1024 points
is smaller than the patches that an encoder sees."""

TOLERANCE = 6
"""How far a channel of any of these points may be off, of 255: what a codec's noise adds to a still picture at usual
rates, and less than a fade changes in a second."""


def firsts(pixels: Pixels) -> np.ndarray:
    """Which frame each frame may be taken for: itself, or an earlier one that looks the same.

    Each is compared with the last that was taken for itself, so that a slow change adds up until it is seen.

    Args:
        pixels: uint8 [N, H, W, 3], numpy or torch on any device.

    Returns:
        int64 [N], each at most its own place.
    """
    height, width = pixels.shape[1:3]
    rows = (np.arange(SIDE) * 2 + 1) * height // (2 * SIDE)
    columns = (np.arange(SIDE) * 2 + 1) * width // (2 * SIDE)
    points = _host(pixels[:, rows][:, :, columns]).astype(np.int16)
    found = np.arange(len(points))
    last = 0
    for number in range(1, len(points)):
        if np.abs(points[number] - points[last]).max() <= TOLERANCE:
            found[number] = last
        else:
            last = number
    return found


def _host(points: Pixels) -> np.ndarray:
    return points if isinstance(points, np.ndarray) else points.cpu().numpy()


class Reusing:
    """An engine that may take a frame for the one before it where they look the same, see `Clip.reuse`."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    async def run(self, clip: "Clip") -> "ClipOutput":
        """See `Engine.run`."""
        return await self._engine.run(msgspec.structs.replace(clip, reuse=True))

    async def check(self) -> None:
        """See `Engine.check`."""
        await self._engine.check()
