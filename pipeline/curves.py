"""Curves over a video's time line: one uniform grid, and the ways onto it."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

CELL_S = 0.25
MAX_CELLS = 20_000
"""Keeps the curves of a day-long video at a few hundred kB; beyond 83 minutes the cells get longer."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Signals on a uniform grid over the whole video."""

    pts_s: np.ndarray
    """float64 [G], centres of the cells, seconds."""
    values: dict[str, np.ndarray]
    """Signal -> float32 [G] in [0, 1]."""

    def __post_init__(self) -> None:
        for name, curve in self.values.items():
            if curve.shape != self.pts_s.shape:
                raise ValueError(f"{name} has shape {curve.shape}, the grid {self.pts_s.shape}")

    @property
    def cell_s(self) -> float:
        """Length of a cell, seconds: the first begins at 0, so its centre lies half a cell in."""
        return 2.0 * float(self.pts_s[0])

    def joined(self, more: Callable[[np.ndarray], dict[str, np.ndarray]]) -> "Curves":
        """With others, which `more` gives for the centres of the cells."""
        return Curves(self.pts_s, self.values | more(self.pts_s))

    def __repr__(self) -> str:
        return f"Curves(cells={len(self.pts_s)}, cell_s={self.cell_s:.3f}, signals={sorted(self.values)})"


def grid(duration_s: float) -> np.ndarray:
    """Centres of equal cells that fill [0, duration_s]: float64 [G], G >= 1."""
    cells = min(MAX_CELLS, max(1, math.ceil(duration_s / CELL_S - 1e-6)))
    return (np.arange(cells) + 0.5) * (max(duration_s, 1e-3) / cells)


def normalise(values: np.ndarray, floor: float) -> np.ndarray:
    """Bring a curve to [0, 1]: its 10th percentile becomes 0, its 98th 1.

    The upper percentile lies high because a moment worth showing is short; the lower one only fends off dropouts.
    `floor` is the smallest spread, in the curve's own unit, that means anything: a flatter curve is drawn towards 0.5
    instead of blowing up its noise, and a constant one is exactly 0.5.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return np.full(values.shape, 0.5)
    low, high = np.percentile(known, (10, 98))
    scaled = 0.5 + (values - (low + high) / 2.0) / max(high - low, floor)
    return np.clip(np.nan_to_num(scaled, nan=0.5), 0.0, 1.0)


def interpolate(values: np.ndarray, times_s: np.ndarray, cells_s: np.ndarray, cuts_s: np.ndarray) -> np.ndarray:
    """float [N] at `times_s` -> float64 [G] at `cells_s`; a cell takes no part of a sample beyond a cut if it can."""
    right = np.clip(np.searchsorted(times_s, cells_s), 1, max(1, len(times_s) - 1))
    left = right - 1
    right = np.minimum(right, len(times_s) - 1)
    gap = np.maximum(times_s[right] - times_s[left], 1e-9)
    share = np.clip((cells_s - times_s[left]) / gap, 0.0, 1.0)
    if len(cuts_s):
        sample_shot = np.searchsorted(cuts_s, times_s, side="right")
        cell_shot = np.searchsorted(cuts_s, cells_s, side="right")
        on_left, on_right = sample_shot[left] == cell_shot, sample_shot[right] == cell_shot
        share = np.where(on_left & ~on_right, 0.0, np.where(on_right & ~on_left, 1.0, share))
    return (1.0 - share) * values[left] + share * values[right]


def binned(values: np.ndarray, bin_s: float, cells_s: np.ndarray, window_s: float) -> np.ndarray:
    """Mean of short bins [B] in a window around every cell [G]."""
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    first, last = (
        np.clip(np.round((cells_s + shift) / bin_s).astype(int), 0, len(values))
        for shift in (-window_s / 2.0, window_s / 2.0)
    )
    return (sums[last] - sums[first]) / np.maximum(last - first, 1)


def fill(values: np.ndarray) -> np.ndarray:
    """Unknown values (NaN) from straight lines between the known ones; zeros if none is known."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return np.zeros_like(values)
    return np.interp(np.arange(len(values)), known, values[known])
