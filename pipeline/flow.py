"""How fast the picture moves, from tiny pictures that lie close together in time."""

from dataclasses import dataclass

import numpy as np

#: Pictures further apart than this, seconds, say nothing: what moved fast is somewhere else altogether.
MAX_GAP_S = 0.25

#: Gradient energy that is as good as none, squared grey levels a pixel: what grain leaves in a picture this small.
_NOISE = 1.0

#: Pairs looked at together; bounds the memory to some MB.
_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class Flow:
    """Speed of the picture over time."""

    times_s: np.ndarray
    """float64 [K], middles of the pairs that were compared, seconds, ascending; at no fixed distance."""
    speed: np.ndarray
    """float32 [K], mean speed of all edges across themselves, picture widths a second."""

    def __post_init__(self) -> None:
        if self.times_s.shape != self.speed.shape:
            raise ValueError(f"times {self.times_s.shape} and speeds {self.speed.shape} must be of one length")


NO_FLOW = Flow(np.empty(0), np.empty(0, np.float32))


def measure(luma: np.ndarray, times_s: np.ndarray, apart: np.ndarray) -> Flow:
    """Normal flow (Horn & Schunck, "Determining optical flow", 1981) between neighbours, weighted by edge strength.

    Brightness changes by gradient x speed, so the sum of |change| |gradient| over that of gradient^2 is a mean speed
    that does not depend on how much texture there is: a plain wall that shakes counts as much as a crowd.

    Args:
        luma: float32 [N, h, w], grey levels.
        times_s: float64 [N], seconds, ascending.
        apart: int64 [C], pairs (places of their first pictures) that are left out, because a cut lies between them.
    """
    gaps_s = np.diff(times_s)
    near = (gaps_s > 1e-3) & (gaps_s <= MAX_GAP_S)
    near[apart] = False
    pairs = np.flatnonzero(near)
    speed = np.empty(len(pairs), np.float32)
    for first in range(0, len(pairs), _AT_ONCE):
        some = pairs[first : first + _AT_ONCE]
        speed[first : first + _AT_ONCE] = _shift(luma[some], luma[some + 1])
    width = luma.shape[-1] if luma.ndim == 3 else 1
    return Flow((times_s[pairs] + times_s[pairs + 1]) / 2, (speed / gaps_s[pairs] / width).astype(np.float32))


def _shift(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """float32 [M]: mean shift across the edges, pixels; `before` and `after` float32 [M, h, w]."""
    middle = (before + after) * 0.5
    across = (middle[:, 1:-1, 2:] - middle[:, 1:-1, :-2]) * 0.5
    down = (middle[:, 2:, 1:-1] - middle[:, :-2, 1:-1]) * 0.5
    steep = across * across + down * down
    changed = np.abs(after - before)[:, 1:-1, 1:-1]
    return (changed * np.sqrt(steep)).mean(axis=(1, 2)) / (steep.mean(axis=(1, 2)) + _NOISE)
