"""What is laid alongside to find what videos share, and what comes of it; see `pipeline.aligning`."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Track:
    """What one video looks like over time."""

    vectors: np.ndarray
    """float16 or float32 [N, D], L2-normalised; a row of zeros where there is nothing to tell a frame by (black)."""
    pts_s: np.ndarray
    """float64 [N], seconds on the video's time line, ascending."""

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.pts_s):
            raise ValueError(f"vectors {self.vectors.shape} must be [N, D] with N = {len(self.pts_s)}")
        if np.any(np.diff(self.pts_s) < 0):
            raise ValueError("pts_s must ascend")

    @property
    def step_s(self) -> float:
        """Usual time between two samples, seconds."""
        return float(np.median(np.diff(self.pts_s))) if len(self.pts_s) > 1 else 1.0

    def __repr__(self) -> str:
        return f"Track(vectors={self.vectors.shape}, pts_s={self.pts_s[:1]}..{self.pts_s[-1:]})"


@dataclass(frozen=True, slots=True)
class Scale:
    """What cosines mean in a space; measured, see docs/decisions/0017."""

    unrelated: float
    """Which samples of unrelated videos hardly ever exceed."""
    same: float
    """Which the same moment of a copy usually reaches."""

    def __call__(self, cosine: np.ndarray) -> np.ndarray:
        """Likeness: below 0 unrelated, 1 the same; in [-1, 1]."""
        return np.clip((cosine - self.unrelated) / (self.same - self.unrelated), -1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Aligned:
    """A stretch that two videos share. A time t of the first is `offset_s + t / speed` in the second."""

    a_start_s: float
    a_end_s: float
    b_start_s: float
    b_end_s: float
    speed: float
    """How fast the second shows it, against the first: 1.05 is 5 % faster."""
    offset_s: float
    score: float
    """How much alike both are along it, 0 to 1."""
    moments: float
    """How many different pictures agree: what the stretch is evidenced by. A still one is one, however long; one that
    is only similar counts less."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as a shared stretch."""

    speeds: tuple[float, float] = (0.94, 1.06)
    least_moments: float = 5.5
    least_score: float = 0.4
    least_s: float = 4.0
    """Shortest stretch, seconds."""
    most: int = 8
    """Stretches of a pair, at most."""


LIMITS = Limits()

BLOCK = 1024
"""Rows of a product of all samples with all that are in memory at a time."""


def distinctness(track: Track, scale: Scale) -> np.ndarray:
    """One over the number of the video's samples that look like each: float64 [N]; 0 for one that shows nothing."""
    vectors = track.vectors.astype(np.float32)
    out = np.zeros(len(vectors))
    for first in range(0, len(vectors), BLOCK):
        block = vectors[first : first + BLOCK]
        likeness = (block @ vectors.T - scale.same) / max(1.0 - scale.same, 1e-6)
        out[first : first + BLOCK] = 1.0 / np.maximum(np.clip(likeness, 0.0, 1.0).sum(1), 1.0)
    return np.where(shows(track), out, 0.0)


def shows(track: Track) -> np.ndarray:
    """Which samples have something to be told by: bool [N]."""
    return np.any(track.vectors != 0, axis=1)
