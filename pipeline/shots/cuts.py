"""Hard cuts in a strip: changes that stand out from the motion around them and that do not go back, as flashes do."""

from dataclasses import dataclass

import numpy as np

from pipeline.shots.change import change
from pipeline.shots.seen import Seen

#: A cut changes a picture at least so much (see `change`; tuned, like all numbers here, on the benchmark's seed 1).
MIN_CHANGE = 2.4

#: ... in at least this share of its blocks: captions and small things that pop up change less.
MIN_SHARE = 0.28

#: ... and at least so many times as much as any change of the frames around it.
MIN_CONTRAST = 2.0

#: Changes within this distance are "around", seconds and pairs.
AROUND_S, AROUND = 0.2, 4

#: Two thumbnails further apart than this, seconds, may differ by motion as much as by a cut.
FAR_S = 0.22

#: ... but motion changes them by no more than so much, or leaves no more when one is slid over the other. Of 54
#: boundaries at which no packet hints, in the benchmark's two sets, 2 pass for motion; it saves a third of decoding.
FAR_CHANGE = 4.0

#: A picture that is back within this time was hidden by a flash, seconds: 3 frames at 24 frames/s and some afterglow.
FLASH_S = 0.2

#: It is back if it differs from what it was by less than this share of the flash's change.
BACK_SHARE = 0.4

#: Only pairs whose plain difference is so many times the local median are looked at closely.
_WORTH = 1.7


@dataclass(frozen=True, slots=True)
class Jump:
    """A pair of neighbouring thumbnails between which the picture jumps."""

    after: int
    """Place in the strip of the first thumbnail behind the jump."""
    contrast: float
    """How many times the changes around it; at least `MIN_CONTRAST`."""


def jumps(seen: Seen, among: np.ndarray | None = None) -> list[Jump]:
    """Every hard cut, in time order; `among` (int64 [K], ascending): only these pairs of neighbours are looked at."""
    if len(seen) < 2:
        return []
    gaps_s = seen.gaps_s
    pairs = _worth_a_look(seen.plain)
    if among is not None:
        pairs = np.intersect1d(pairs, among)
    pairs = pairs[(seen.changes(pairs) >= MIN_CHANGE) & (seen.shares(pairs) >= MIN_SHARE)]
    pairs = pairs[~explained_by_motion(seen, pairs)]
    near = [_around(pair, seen.times_s) for pair in pairs.tolist()]
    seen.changes(np.concatenate([*near, np.empty(0, np.int64)]))  # all at once is faster
    sharp: list[tuple[int, float, float]] = []
    for pair, amount, places in zip(pairs.tolist(), seen.changes(pairs).tolist(), near, strict=True):
        # A gap twice as long would have shown up to twice the motion.
        others = seen.changes(places) * np.maximum(gaps_s[pair] / gaps_s[places], 1.0)
        contrast = amount / (float(others.max(initial=0.0)) + 0.3)
        if contrast >= MIN_CONTRAST or _lone(amount, others):
            sharp.append((pair, amount, contrast))
    back = _go_back(seen, [(pair, amount) for pair, amount, _ in sharp])
    return [Jump(pair + 1, contrast) for (pair, _, contrast), goes in zip(sharp, back, strict=True) if not goes]


def explained_by_motion(seen: Seen, pairs: np.ndarray) -> np.ndarray:
    """bool [K]: pairs (int64 [K]) far apart in time whose change motion can account for."""
    far = seen.gaps_s[pairs] > FAR_S
    explained = far & (seen.changes(pairs) < FAR_CHANGE)
    unclear = far & ~explained
    explained[unclear] = seen.slides(pairs[unclear]) < FAR_CHANGE
    return explained


def _worth_a_look(plain: np.ndarray) -> np.ndarray:
    padded = np.pad(plain, 6, mode="reflect" if len(plain) > 6 else "edge")
    # The middle one of 13: several times as fast as np.median.
    usual = np.partition(np.lib.stride_tricks.sliding_window_view(padded, 13), 6, axis=1)[:, 6]
    return np.flatnonzero((plain >= MIN_CHANGE) & (plain >= _WORTH * usual))


def _around(pair: int, times_s: np.ndarray) -> np.ndarray:
    places = np.arange(max(0, pair - AROUND), min(len(times_s) - 1, pair + AROUND + 1))
    near = np.abs(times_s[places] - times_s[pair]) <= AROUND_S + 1e-6
    return places[near & (places != pair)]


def _lone(amount: float, others: np.ndarray) -> bool:
    """Two cuts or a flash next to each other hide each other: one equal may be around if all the rest is calm."""
    if len(others) < 4:
        return False
    second = np.sort(others)[-3]
    return amount >= 2 * MIN_CONTRAST * (float(second) + 0.3)


def _go_back(seen: Seen, jumping: list[tuple[int, float]]) -> list[bool]:
    """For each pair and its change: whether what was before the jump is there again soon after it, or what is after it
    was there shortly before."""
    times_s = seen.times_s
    before, after = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    counts: list[int] = []
    for pair, _ in jumping:
        later = np.arange(pair + 2, np.searchsorted(times_s, times_s[pair + 1] + FLASH_S, side="right"))
        sooner = np.arange(np.searchsorted(times_s, times_s[pair] - FLASH_S), pair)
        before += [np.full(len(later), pair), sooner]
        after += [later, np.full(len(sooner), pair + 1)]
        counts.append(len(later) + len(sooner))
    apart = change(seen.tones[np.concatenate(before)], seen.tones[np.concatenate(after)])
    each = np.split(apart, np.cumsum(counts)[:-1]) if counts else []
    return [
        bool(some.min(initial=np.inf) < BACK_SHARE * amount) for some, (_, amount) in zip(each, jumping, strict=True)
    ]
