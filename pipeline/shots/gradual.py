"""Gradual transitions in a strip: fades through one colour, and dissolves.

In a dissolve, every picture between the last of the old take A and the first of the new take B is a blend
(1 - a) A + a B with the same a everywhere, rising from 0 to 1. Motion makes pictures in between that are no such blend;
an exposure change makes blends of two pictures that are the same in structure. Both tests are on thumbnails three
times smaller still, so that slow motion in A and B does not spoil the blend.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.shots.change import change, halved, quick_change
from pipeline.shots.ramps import Ramps, ramps

#: Step of the time grid that gradual changes are sought on, seconds.
STEP_S = 0.1

#: The ends of a dissolve differ at least so much (see `change`).
MIN_CHANGE = 6.0

#: The blend must miss the middle picture by this much less than either end does, motion allowed for.
MAX_RATIO = 0.45

#: ... and by this much in the quick test that comes first.
MAX_ROUGH_RATIO = 0.55

#: Ends that miss the middle by less are taken to miss it by so much: it is noise.
_LEAST_MISS = 0.5

#: How often another of several overlapping candidates is tried when the strongest fails the sharper test.
_TRIES = 4

#: A picture of one colour: spread of its rooted luma, grey levels.
_FLAT = 6.0

#: ... that is this dark or this bright.
_DARK, _BRIGHT = 45.0, 235.0

#: Shorter fades are flashes and blinks, seconds.
MIN_FADE_S = 0.25

#: A picture is still fading while its spread is below this share of what it becomes.
_FADED = 0.9

#: How far from the bare colour a fade is followed, seconds.
_FADE_REACH_S = 1.2


@dataclass(frozen=True, slots=True)
class Gradual:
    """A fade or dissolve."""

    start_s: float
    end_s: float
    kind: Literal["dissolve", "fade"]
    """dissolve or fade."""
    score: float
    """0 to 1."""
    inside: bool = True
    """Whether there are pictures on both sides; false for a video that fades in or out."""


def flat_pictures(tones: np.ndarray) -> np.ndarray:
    """bool [N]: pictures of nothing but black or white; `tones` float32 [N, 3, h, w]."""
    luma = tones[:, 0]
    level = luma.mean(axis=(1, 2))
    return (luma.std(axis=(1, 2)) < _FLAT) & ((level < _DARK) | (level > _BRIGHT))


def fades(tones: np.ndarray, times_s: np.ndarray, flat: np.ndarray) -> list[Gradual]:
    """Runs of bare colour, widened by the time the pictures beside them take to fade, in time order.

    Args:
        tones: float32 [N, 3, h, w], see `change.tones`.
        times_s: float64 [N], seconds.
        flat: bool [N], see `flat_pictures`.
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flat.astype(np.int8), [0]))))
    spread = tones[:, 0].std(axis=(1, 2))
    found: list[Gradual] = []
    for first, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        start_s = float(times_s[_follow(spread, times_s, first, -1)])
        end_s = float(times_s[_follow(spread, times_s, stop - 1, 1)])
        inside = first > 0 and stop < len(times_s)
        if inside and end_s - start_s < MIN_FADE_S:
            continue
        if found and start_s <= found[-1].end_s:
            before = found.pop()
            start_s, end_s, inside = before.start_s, max(before.end_s, end_s), before.inside and inside
        found.append(Gradual(start_s, end_s, "fade", 1.0, inside))
    return found


def _follow(spread: np.ndarray, times_s: np.ndarray, place: int, way: int) -> int:
    """The place, from `place` on in direction `way`, where the picture is whole: its spread grows no more."""
    begin = times_s[place]
    reach = place
    while 0 <= reach + way < len(times_s) and abs(times_s[reach + way] - begin) <= _FADE_REACH_S:
        reach += way
    part = spread[place : reach + 1] if way > 0 else spread[reach : place + 1][::-1]
    rising = np.maximum.accumulate(part)
    # It stops rising where the next third of a second adds little.
    for step in range(1, len(part)):
        ahead = step
        while ahead + 1 < len(part) and abs(times_s[place + way * (ahead + 1)] - times_s[place + way * step]) <= 0.15:
            ahead += 1
        if rising[step] > _FLAT and rising[ahead] - rising[step] <= (1 - _FADED) * rising[step]:
            return place + way * step
    return reach


def dissolves(tones: np.ndarray, times_s: np.ndarray, take: np.ndarray) -> list[Gradual]:
    """Dissolves in a strip, in time order; none across the ends of a take.

    Args:
        tones: float32 [N, 3, h, w], see `change.tones`.
        times_s: float64 [N], seconds.
        take: int64 [N], equal between two cuts or fades; negative where no dissolve is to be sought.
    """
    picks = _on_grid(times_s)
    picks = picks[take[picks] >= 0]
    if len(picks) < 5:
        return []
    pictures, moments, take = tones[picks], times_s[picks], take[picks]
    likely = ramps(_smaller(pictures), moments, take)
    likely, strength = _roughly_blended(halved(pictures), likely)
    found: list[Gradual] = []
    for _ in range(_TRIES):
        # The sharper test, only on the strongest of those that overlap.
        best = _strongest(likely.spans_s, strength)
        if not len(best):
            break
        apart, ratio = _blended(pictures, likely[best])
        good = (apart >= MIN_CHANGE) & (ratio < MAX_RATIO)
        spans_s = likely.spans_s[best[good]]
        for (start_s, end_s), miss in zip(spans_s.tolist(), ratio[good].tolist(), strict=True):
            found.append(Gradual(start_s, end_s, "dissolve", 1 - miss))
        left = np.ones(len(likely), bool)
        left[best] = False
        for start_s, end_s in spans_s.tolist():
            left &= (likely.spans_s[:, 1] <= start_s) | (likely.spans_s[:, 0] >= end_s)
        likely, strength = likely[left], strength[left]
    return sorted(found, key=lambda one: one.start_s)


def _roughly_blended(small: np.ndarray, likely: Ramps) -> tuple[Ramps, np.ndarray]:
    """Those whose middle is roughly the blend of ends that differ, and how clearly so, float32 [K]; `small` float32
    [N, h, w] of `halved`."""
    first, _, last = _ends_and_middle(small, likely)
    apart = quick_change(first, last)
    differ = apart >= MIN_CHANGE / 2
    likely, apart = likely[differ], apart[differ]
    first, middle, last = _ends_and_middle(small, likely)
    miss = quick_change(middle, _blend(first, last, likely.shares))
    # What is not even better than the plain difference from an end needs no search for motion there.
    plain = np.minimum(*(np.abs(middle - end).mean(axis=(1, 2)) for end in (first, last)))
    hopeful = np.flatnonzero(miss < MAX_ROUGH_RATIO * np.maximum(plain, _LEAST_MISS))
    middle, miss = middle[hopeful], miss[hopeful]
    ends = quick_change(np.concatenate([middle, middle]), np.concatenate([first[hopeful], last[hopeful]]))
    ratio = miss / np.maximum(ends.reshape(2, -1).min(axis=0), _LEAST_MISS)
    good = ratio < MAX_ROUGH_RATIO
    return likely[hopeful[good]], (apart[hopeful] * (1 - ratio))[good]


def _blended(pictures: np.ndarray, likely: Ramps) -> tuple[np.ndarray, np.ndarray]:
    """(how far the ends are apart, what the blend misses of the middle over what the nearer end does), [K] each."""
    first, middle, last = _ends_and_middle(pictures, likely)
    blend = _blend(first, last, likely.shares)
    # All in one go is faster.
    before, after = np.concatenate([first, middle, middle, middle]), np.concatenate([last, blend, first, last])
    apart, miss, miss_first, miss_last = change(before, after, fine=True).reshape(4, -1)
    return apart, miss / np.maximum(np.minimum(miss_first, miss_last), _LEAST_MISS)


def _ends_and_middle(pictures: np.ndarray, likely: Ramps) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    begins, halves = likely.begins, likely.halves
    return pictures[begins], pictures[begins + halves], pictures[begins + 2 * halves]


def _blend(first: np.ndarray, last: np.ndarray, shares: np.ndarray) -> np.ndarray:
    return first + shares.reshape(-1, *[1] * (first.ndim - 1)) * (last - first)


def _strongest(ramps: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """int64 [K]: places of ramps (float64 [N, 2], start and end) that overlap no stronger one that is taken."""
    taken: list[int] = []
    for place in np.argsort(-strength).tolist():
        start_s, end_s = ramps[place]
        if all(end_s <= ramps[other][0] or start_s >= ramps[other][1] for other in taken):
            taken.append(place)
    return np.array(taken, np.int64)


def _on_grid(times_s: np.ndarray) -> np.ndarray:
    """Places of the thumbnails nearest to every `STEP_S`, each once."""
    if len(times_s) < 5:
        return np.empty(0, np.int64)
    grid = np.arange(times_s[0], times_s[-1] + STEP_S / 2, STEP_S)
    right = np.clip(np.searchsorted(times_s, grid), 1, len(times_s) - 1)
    return np.unique(right - (grid - times_s[right - 1] < times_s[right] - grid))


def _smaller(tones: np.ndarray) -> np.ndarray:
    """float32 [N, 3, h, w] -> [N, 3 * (h // 3) * (w // 3)]."""
    n, _, h, w = tones.shape
    cropped = tones[:, :, : h // 3 * 3, : w // 3 * 3]
    rows = cropped[:, :, ::3] + cropped[:, :, 1::3] + cropped[:, :, 2::3]
    boxes = rows[..., ::3] + rows[..., 1::3] + rows[..., 2::3]
    return (boxes / 9).reshape(n, -1)
