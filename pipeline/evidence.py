"""What signals are made from, and the way from samples to the grid that they share."""

from dataclasses import dataclass, field

import numpy as np

from pipeline.curves import interpolate
from pipeline.flow import NO_FLOW, Flow
from pipeline.frames import Loudness, Samples
from pipeline.packets import PacketIndex


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that signals are made from."""

    cells_s: np.ndarray
    """float64 [G], see `Curves.pts_s`."""
    index: PacketIndex
    samples: Samples
    loudness: Loudness | None = None
    cuts_s: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """float64 [C], where shots begin, without 0; ascending."""
    flow: Flow = NO_FLOW
    wanted: np.ndarray | None = None
    """float32 [P, D], text vectors of what is looked for."""
    unwanted: np.ndarray | None = None
    """float32 [Q, D], text vectors of its opposite."""


def on_grid(values: np.ndarray, evidence: Evidence) -> np.ndarray:
    """Values of the samples [N] at every cell [G]: straight lines inside a shot, a step at its borders."""
    return interpolate(values, evidence.samples.pts_s, evidence.cells_s, evidence.cuts_s)
