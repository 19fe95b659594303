"""What was seen of a stretch of video so far, and what comparing neighbours has told about it."""

import numpy as np

from pipeline.frames import Strip
from pipeline.shots import change


class Seen:
    """Tiny pictures in time order. More can be added; what was found out about a pair of neighbours stays known for as
    long as nothing comes between them, so that no pair is compared twice however often the search goes round."""

    def __init__(self, strip: Strip) -> None:
        n = len(strip)
        self.times_s = strip.pts_s
        """float64 [N], seconds, ascending."""
        self.tones = change.tones(strip.thumbs)
        """float32 [N, 3, h, w], see `change.tones`."""
        self._per_pair = {name: np.full(max(0, n - 1), np.nan, np.float32) for name in _PER_PAIR}

    def __len__(self) -> int:
        return len(self.times_s)

    @property
    def gaps_s(self) -> np.ndarray:
        """float64 [N-1], seconds from each picture to the next, at least 0.1 ms."""
        return np.maximum(np.diff(self.times_s), 1e-4)

    @property
    def plain(self) -> np.ndarray:
        """float32 [N-1]: mean absolute difference of neighbours, motion not allowed for."""
        known = self._per_pair["plain"]
        new = np.flatnonzero(np.isnan(known))
        for first in range(0, len(new), _AT_ONCE):
            some = new[first : first + _AT_ONCE]
            known[some] = change.distance(self.tones[some], self.tones[some + 1]).mean(axis=(1, 2))
        return known

    def changes(self, pairs: np.ndarray) -> np.ndarray:
        """float32 [K]: `change` across the pairs (int64 [K], places of their first pictures)."""
        self._compare(pairs)
        return self._per_pair["amount"][pairs]

    def shares(self, pairs: np.ndarray) -> np.ndarray:
        """float32 [K]: the share of blocks that changed across the pairs (int64 [K])."""
        self._compare(pairs)
        return self._per_pair["share"][pairs]

    def slides(self, pairs: np.ndarray) -> np.ndarray:
        """float32 [K]: what the pairs (int64 [K]) differ by when one picture is slid over the other; `change.slid`."""
        known = self._per_pair["slide"]
        new = pairs[np.isnan(known[pairs])]
        if len(new):
            known[new] = change.slid(change.halved(self.tones[new]), change.halved(self.tones[new + 1]))
        return known[pairs]

    def joined(self, strip: Strip) -> "Seen":
        """This and more, in time order; a time that both have is taken from here."""
        if not len(strip):
            return self
        more = Seen(strip)
        times_s, origin = np.unique(np.concatenate([self.times_s, more.times_s]), return_index=True)
        both = Seen.__new__(Seen)
        both.times_s = times_s
        old = origin < len(self)
        both.tones = np.empty((len(times_s), *self.tones.shape[1:]), np.float32)
        both.tones[old], both.tones[~old] = self.tones[origin[old]], more.tones[origin[~old] - len(self)]
        still = np.flatnonzero((np.diff(origin) == 1) & (origin[1:] < len(self)))
        both._per_pair = {name: np.full(len(times_s) - 1, np.nan, np.float32) for name in _PER_PAIR}
        for name, values in both._per_pair.items():
            values[still] = self._per_pair[name][origin[still]]
        return both

    def since(self, time_s: float) -> "Seen":
        """What was seen from `time_s` (seconds) on."""
        first = int(np.searchsorted(self.times_s, time_s))
        rest = Seen.__new__(Seen)
        rest.times_s, rest.tones = self.times_s[first:].copy(), self.tones[first:].copy()
        rest._per_pair = {name: values[first:].copy() for name, values in self._per_pair.items()}
        return rest

    def _compare(self, pairs: np.ndarray) -> None:
        known = self._per_pair["amount"]
        new = np.unique(pairs[np.isnan(known[pairs])])
        if len(new):
            blocks = change.changed_blocks(self.tones[new], self.tones[new + 1])
            known[new] = blocks.mean(axis=(1, 2))
            self._per_pair["share"][new] = (blocks > change.BLOCK_CHANGE).mean(axis=(1, 2))


#: What is remembered of each pair of neighbours; NaN until somebody asks.
_PER_PAIR = ("plain", "amount", "share", "slide")

#: Pairs compared at once: as many as fit a core's cache.
_AT_ONCE = 32
