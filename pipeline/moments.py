"""Which frame of a video is meant by a time."""

from dataclasses import dataclass

import numpy as np

from pipeline.packets import PacketIndex


@dataclass(frozen=True, slots=True)
class Moments:
    """The N shown frames of a video in the order of their times, which its index would sort anew for each question."""

    rows: np.ndarray
    """int64 [N], rows of the index."""
    times_s: np.ndarray
    """float64 [N], seconds, ascending."""
    clean: np.ndarray
    """bool [N], entry points: a decoder needs nothing else for these."""

    @classmethod
    def of(cls, index: PacketIndex) -> "Moments":
        """Those of a video, which has one at least."""
        rows = index.display_order
        return cls(rows, index.times_of(rows), index.entry[rows])

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Moments(frames={len(self)}, clean={int(self.clean.sum())})"

    def nearest(self, at_s: float) -> int:
        """Place of the frame that begins nearest to a time; of two, the earlier."""
        return _nearest(self.times_s, at_s)

    def cheap(self, at_s: float, low_s: float, high_s: float) -> int:
        """Place of the entry point nearest to a time among those within [low_s, high_s); where none is there, of the
        frame nearest to the time."""
        places = np.flatnonzero(self.clean)
        times_s = self.times_s[places]
        within = slice(*np.searchsorted(times_s, (low_s, high_s), side="left"))
        if not len(times_s[within]):
            return self.nearest(at_s)
        return int(places[within][_nearest(times_s[within], at_s)])


def _nearest(times_s: np.ndarray, at_s: float) -> int:
    after = min(int(np.searchsorted(times_s, at_s)), len(times_s) - 1)
    before = max(after - 1, 0)
    return before if at_s - times_s[before] <= times_s[after] - at_s else after
