"""Hard cuts in a strip: changes that stand out from the motion around them and that do not go back, as flashes do."""

from dataclasses import dataclass

import numpy as np

from pipeline.shots.change import change, changed_blocks, distance, halved, slid

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

#: A block has changed from here on.
_BLOCK_CHANGE = 2.4

#: Only pairs whose plain difference is so many times the local median are looked at closely.
_WORTH = 1.7


@dataclass(frozen=True, slots=True)
class Jump:
    """A pair of neighbouring thumbnails between which the picture jumps."""

    after: int
    """Place in the strip of the first thumbnail behind the jump."""
    contrast: float
    """How many times the changes around it; at least `MIN_CONTRAST`."""


def plain_differences(tones: np.ndarray) -> np.ndarray:
    """float32 [N-1]: mean absolute difference of neighbours, motion not allowed for; `tones` float32 [N, h, w, 3]."""
    return distance(tones[:-1], tones[1:]).mean(axis=(1, 2))


def jumps(tones: np.ndarray, times_s: np.ndarray, plain: np.ndarray, among: np.ndarray | None = None) -> list[Jump]:
    """Every hard cut, in time order.

    Args:
        tones: float32 [N, h, w, 3], see `change.tones`.
        times_s: float64 [N], seconds, ascending; distances may vary.
        plain: float32 [N-1], see `plain_differences`.
        among: int64 [K], ascending: only these pairs of neighbours are looked at.
    """
    if len(times_s) < 2:
        return []
    gaps_s = np.maximum(np.diff(times_s), 1e-4)
    pairs = _worth_a_look(plain)
    if among is not None:
        pairs = np.intersect1d(pairs, among)
    blocks = changed_blocks(tones[pairs], tones[pairs + 1])
    amounts = blocks.mean(axis=(1, 2))
    strong = (amounts >= MIN_CHANGE) & ((blocks > _BLOCK_CHANGE).mean(axis=(1, 2)) >= MIN_SHARE)
    strong[strong] = ~explained_by_motion(tones, gaps_s, pairs[strong], amounts[strong])
    pairs, amounts = pairs[strong], amounts[strong]
    near = [_around(pair, times_s) for pair in pairs]
    needed = np.unique(np.concatenate([*near, np.empty(0, np.int64)]).astype(np.int64))
    around = np.zeros(len(plain), np.float32)
    around[needed] = change(tones[needed], tones[needed + 1])
    found = []
    for pair, amount, places in zip(pairs.tolist(), amounts.tolist(), near, strict=True):
        # A gap twice as long would have shown up to twice the motion.
        others = around[places] * np.maximum(gaps_s[pair] / gaps_s[places], 1.0)
        contrast = amount / (float(others.max(initial=0.0)) + 0.3)
        if contrast < MIN_CONTRAST and not _lone(amount, others):
            continue
        if not _goes_back(tones, times_s, pair, amount):
            found.append(Jump(pair + 1, contrast))
    return found


def explained_by_motion(tones: np.ndarray, gaps_s: np.ndarray, pairs: np.ndarray, amounts: np.ndarray) -> np.ndarray:
    """bool [K]: pairs (int64 [K]) far apart in time whose change (`amounts`, float32 [K]) motion can account for."""
    explained = (gaps_s[pairs] > FAR_S) & (amounts < FAR_CHANGE)
    unclear = np.flatnonzero((gaps_s[pairs] > FAR_S) & ~explained)
    explained[unclear] = slid(halved(tones[pairs[unclear]]), halved(tones[pairs[unclear] + 1])) < FAR_CHANGE
    return explained


def _worth_a_look(plain: np.ndarray) -> np.ndarray:
    padded = np.pad(plain, 6, mode="reflect" if len(plain) > 6 else "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 13)
    usual = np.median(windows, axis=1)
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


def _goes_back(tones: np.ndarray, times_s: np.ndarray, pair: int, amount: float) -> bool:
    """Whether what was before the jump is there again soon after it, or what is after it was there shortly before."""
    limit = BACK_SHARE * amount
    later = np.arange(pair + 2, np.searchsorted(times_s, times_s[pair + 1] + FLASH_S, side="right"))
    if len(later) and change(np.repeat(tones[pair : pair + 1], len(later), 0), tones[later]).min() < limit:
        return True
    sooner = np.arange(np.searchsorted(times_s, times_s[pair] - FLASH_S), pair)
    return bool(len(sooner)) and bool(
        change(tones[sooner], np.repeat(tones[pair + 1 : pair + 2], len(sooner), 0)).min() < limit
    )
