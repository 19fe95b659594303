"""The packet index: what a video is made of, read without decoding anything (about 1 % of the decode cost)."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np


@dataclass(frozen=True, slots=True)
class PacketIndex:
    """One row a packet of the video stream, in decode order."""

    pts: np.ndarray
    """int64 [P], presentation times in `time_base` units, as the container has them or, where it has none, as the
    order of the packets and the rate give them."""
    size: np.ndarray
    """int32 [P], bytes."""
    keyframe: np.ndarray
    """bool [P], flagged by the container as a point where decoding can start."""
    entry: np.ndarray
    """bool [P], a keyframe that is clean in fact: what follows it in display order needs nothing before it."""
    disposable: np.ndarray
    """bool [P], no other frame refers to it."""
    shown: np.ndarray
    """bool [P], a frame of this packet is displayed (not hidden by the codec, nor cut off by an edit list)."""
    time_base: Fraction
    """Seconds per unit of `pts`."""
    origin: int
    """pts of the first shown frame: zero of the video's own time line."""
    end: int
    """pts at which the last shown frame ends."""

    def __post_init__(self) -> None:
        lengths = {len(a) for a in (self.pts, self.size, self.keyframe, self.entry, self.disposable, self.shown)}
        if len(lengths) != 1:
            raise ValueError(f"columns of a packet index must have one length, not {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.pts)

    def __repr__(self) -> str:
        return (
            f"PacketIndex(packets={len(self)}, shown={int(self.shown.sum())}, keyframes={int(self.keyframe.sum())}, "
            f"duration_s={self.duration_s:.3f})"
        )

    @property
    def times_s(self) -> np.ndarray:
        """float64 [P], seconds on the video's own time line."""
        return (self.pts - self.origin) * float(self.time_base)

    @property
    def duration_s(self) -> float:
        """Seconds from the first shown frame to the end of the last."""
        return float((self.end - self.origin) * self.time_base)

    @property
    def display_order(self) -> np.ndarray:
        """int64 [number shown], rows of the shown packets by time."""
        rows = np.flatnonzero(self.shown)
        return rows[np.argsort(self.pts[rows], kind="stable")]
