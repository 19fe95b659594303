"""Where to look: which pictures are worth decoding to find the boundaries of shots.

Coarse to fine. The sampled pictures come first, and with them, because it costs next to nothing while a decoder is
there anyway, the surroundings of packets that look like cuts. What came out tells where the picture changed between
two thumbnails that are not neighbours; only there is more asked for, until every change is placed on its frame.
"""

from collections.abc import Iterator

import numpy as np

from pipeline.packets import PacketIndex
from pipeline.plans import needed
from pipeline.shots import cuts
from pipeline.shots.seen import Seen

#: A packet so many times as large as most of its kind around it may hold a cut. Together with irregular
#: keyframes this catches 95 to 100 % of hard cuts where the encoder looks for them, 87 % where it does not.
SPIKE = 2.0

#: Packets of one kind on each side that a packet is compared with.
_AROUND = 8

#: Which of them and itself, in ascending order, is the upper quartile.
_UPPER_QUARTILE = 3 * 2 * _AROUND // 4

#: Keyframe distances that differ from the usual one by more than this share are irregular.
_IRREGULAR = 0.1

#: A decoder goes on for so many packets at any rate.
_NEAR_PACKETS = 8

#: Distance at which pictures are asked for inside such a gap, seconds.
STEP_S = 0.1

#: How often more may be asked for: surroundings of packets, then a grid, then the exact frames.
ROUNDS = 3


def suspects(index: PacketIndex) -> np.ndarray:
    """int64 [S]: places in display order whose packets look as if a new shot began there."""
    order = index.display_order
    keyframe, light = index.keyframe[order], index.disposable[order]
    size = index.size[order].astype(np.float64)
    odd = np.zeros(len(order), bool)
    for kind in (~keyframe & ~light, ~keyframe & light):
        places = np.flatnonzero(kind)
        if len(places) > 2:
            odd[places] = size[places] > SPIKE * _usually(size[places])
    keys = np.flatnonzero(keyframe)
    if len(keys) > 1:
        steps = np.diff(keys)
        usual = int(np.bincount(steps).argmax())
        late = np.abs(steps - usual) > _IRREGULAR * usual
        # Where no distance is usual, the longest one is what the encoder would have chosen.
        late |= (np.bincount(steps).max() < len(steps) / 3) & (steps < steps.max())
        odd[keys[1:][late]] = True
    return np.flatnonzero(odd[1:]) + 1


def _usually(values: np.ndarray) -> np.ndarray:
    """The local upper quartile: P pictures and the B pictures that others refer to take turns, and only the smaller
    half of them may be measured against the larger."""
    padded = np.pad(values, _AROUND, mode="reflect" if len(values) > _AROUND else "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _AROUND + 1)
    return np.partition(windows, _UPPER_QUARTILE, axis=1)[:, _UPPER_QUARTILE]


class Hints:
    """What the packet index tells about the shots of a video; found out once, because a long video is asked often."""

    def __init__(self, index: PacketIndex) -> None:
        self._index = index
        self._order = index.display_order
        self._times_s = index.times_s[self._order]
        self._heavy = np.flatnonzero(~index.disposable[self._order])
        self.suspects = suspects(index)
        """int64 [S], see `suspects`."""

    def first_rows(self, wanted: np.ndarray) -> np.ndarray:
        """int64 [R]: rows to decode together with the rows `wanted` (int64 [W]): the surroundings of suspicious packets
        that a decoder comes past on its way."""
        if not len(wanted):
            return np.empty(0, np.int64)
        index = self._index
        group = np.cumsum(index.entry)
        need = needed(index, wanted)
        last_needed = np.zeros(int(group[-1]) + 1, np.int64)
        np.maximum.at(last_needed, group[need], np.flatnonzero(need))
        first = np.flatnonzero(index.entry)
        start = np.concatenate(([0], first))
        rows = self._order[self._surroundings(self.suspects)]
        come, behind = last_needed[group[rows]], rows - last_needed[group[rows]]
        # Going on for some packets now is cheaper than coming back through the whole group later.
        on_the_way = (come > 0) & (behind <= np.maximum(come - start[group[rows]], _NEAR_PACKETS))
        return np.setdiff1d(rows[on_the_way], wanted)

    def more_rows(self, seen: Seen, round_number: int) -> np.ndarray:
        """int64 [R]: rows to decode next, given all that was `seen` so far; none where every change is placed.

        Args:
            round_number: 0 for the first time; after `ROUNDS` there is nothing more to ask.
        """
        if len(seen) < 2 or round_number >= ROUNDS:
            return np.empty(0, np.int64)
        places = np.searchsorted(self._times_s, seen.times_s - 1e-6)
        open_pairs = np.flatnonzero((np.diff(places) > 1) & (seen.plain >= cuts.MIN_CHANGE))
        is_far = seen.gaps_s[open_pairs] > cuts.FAR_S
        far, near = open_pairs[is_far], open_pairs[~is_far]
        asked = [*self._inside_far(seen, places, far, round_number), *_inside_near(seen, places, near)]
        if not asked:
            return np.empty(0, np.int64)
        return self._order[np.setdiff1d(np.concatenate(asked), places)]

    def _inside_far(self, seen: Seen, places: np.ndarray, far: np.ndarray, round_number: int) -> Iterator[np.ndarray]:
        """Places in wide gaps that may hold anything: around suspects in the first round, else a grid."""
        far = far[seen.changes(far) >= cuts.MIN_CHANGE]
        odd = self.suspects
        hinted = np.searchsorted(odd, places[far + 1], side="right") > np.searchsorted(odd, places[far], side="right")
        for pair in far[hinted | ~cuts.explained_by_motion(seen, far)].tolist():
            first, last = int(places[pair]), int(places[pair + 1])
            inside = odd[(odd > first) & (odd <= last)] if round_number == 0 else odd[:0]
            if len(inside):
                around = self._surroundings(inside)
                yield around[(around > first) & (around < last)]
            else:
                grid = np.arange(self._times_s[first] + STEP_S, self._times_s[last], STEP_S)
                yield np.clip(np.searchsorted(self._times_s, grid), first + 1, last - 1)

    def _surroundings(self, places: np.ndarray) -> np.ndarray:
        """Places in display order around suspects: from before the last picture one can refer to, to the one behind."""
        if not len(places):
            return np.empty(0, np.int64)
        heavy = self._heavy
        before = heavy[np.maximum(np.searchsorted(heavy, places) - 1, 0)]
        runs = [np.arange(max(0, first - 1), place + 2) for first, place in zip(before, places, strict=True)]
        out = np.unique(np.concatenate(runs))
        return out[out < len(self._order)]


def _inside_near(seen: Seen, places: np.ndarray, near: np.ndarray) -> Iterator[np.ndarray]:
    """All places in narrow gaps across which the picture jumps."""
    if len(near):
        jumping = np.array([jump.after - 1 for jump in cuts.jumps(seen, among=near)], np.int64)
        for pair in np.intersect1d(near, jumping).tolist():
            yield np.arange(int(places[pair]) + 1, int(places[pair + 1]))
