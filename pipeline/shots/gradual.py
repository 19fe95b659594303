"""Gradual transitions in a strip: fades through one colour, and dissolves.

In a dissolve, every picture between the last of the old take A and the first of the new take B is a blend
(1 - a) A + a B with the same a everywhere, rising from 0 to 1. Motion makes pictures in between that are no such blend;
an exposure change makes blends of two pictures that are the same in structure. Both tests are on thumbnails three
times smaller still, so that slow motion in A and B does not spoil the blend.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from pipeline.shots.change import change, halved, quick_change

#: Step of the time grid that gradual changes are sought on, seconds.
STEP_S = 0.1

#: Half lengths that are tried, in steps: dissolves of about 0.3 to 2 s.
_HALVES = (2, 3, 4, 6, 8, 10)

#: The ends of a dissolve differ at least so much (see `change`).
MIN_CHANGE = 6.0

#: A blend may miss a picture in between by this share of the difference of the ends.
MAX_MISFIT = 0.35

#: How far from one half the middle picture's share of B may be: one grid step in a dissolve of 0.35 s is 0.3.
MAX_SKEW = 0.16

#: The blend must miss the middle picture by this much less than either end does, motion allowed for.
MAX_RATIO = 0.45

#: ... and by this much in the quick test that comes first.
MAX_ROUGH_RATIO = 0.55

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
    small = _smaller(pictures)
    begins, halves = _candidates(small, take)
    straight = [_ramp(small, moments, *where) for where in zip(begins.tolist(), halves.tolist(), strict=True)]
    keep = np.array([ramp is not None for ramp in straight], bool)
    ramps = np.array([ramp for ramp in straight if ramp is not None]).reshape(-1, 2)
    begins, halves = begins[keep], halves[keep]
    apart, ratio = _likelihood(pictures, small, begins, halves, fine=False)
    good = (apart >= MIN_CHANGE / 2) & (ratio < MAX_ROUGH_RATIO)
    begins, halves, ramps, strength = begins[good], halves[good], ramps[good], (apart * (1 - ratio))[good]
    found: list[Gradual] = []
    for _ in range(_TRIES):
        # The sharper test, only on the strongest of those that overlap.
        best = _strongest(ramps, strength)
        if not len(best):
            break
        apart, ratio = _likelihood(pictures, small, begins[best], halves[best], fine=True)
        good = (apart >= MIN_CHANGE) & (ratio < MAX_RATIO)
        for (start_s, end_s), miss in zip(ramps[best[good]].tolist(), ratio[good].tolist(), strict=True):
            found.append(Gradual(start_s, end_s, "dissolve", 1 - miss))
        left = np.ones(len(begins), bool)
        left[best] = False
        for start_s, end_s in ramps[best[good]].tolist():
            left &= (ramps[:, 1] <= start_s) | (ramps[:, 0] >= end_s)
        begins, halves, ramps, strength = begins[left], halves[left], ramps[left], strength[left]
    return sorted(found, key=lambda one: one.start_s)


def _strongest(ramps: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """int64 [K]: places of ramps (float64 [N, 2], start and end) that overlap no stronger one that is taken."""
    taken: list[int] = []
    for place in np.argsort(-strength).tolist():
        start_s, end_s = ramps[place]
        if all(end_s <= ramps[other][0] or start_s >= ramps[other][1] for other in taken):
            taken.append(place)
    return np.array(taken, np.int64)


def _likelihood(
    pictures: np.ndarray, small: np.ndarray, begins: np.ndarray, halves: np.ndarray, *, fine: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(how far the ends are apart, what the blend misses of the middle over what the nearer end does), [K] each."""
    shares = _blended(small, begins, halves)[0]
    if not fine:
        pictures = halved(pictures)
    first, middle, last = pictures[begins], pictures[begins + halves], pictures[begins + 2 * halves]
    blend = first + shares.reshape(-1, *[1] * (first.ndim - 1)) * (last - first)
    differ = partial(change, fine=True) if fine else quick_change
    miss_ends = np.minimum(differ(middle, first), differ(middle, last))
    return differ(first, last), differ(middle, blend) / np.maximum(miss_ends, 0.5)


def _candidates(small: np.ndarray, take: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(begins, halves), int64 [K] each: stretches of 2 * half grid steps in one take whose ends differ and whose middle
    is about their blend."""
    all_begins, all_halves = [], []
    for half in _HALVES:
        begins = np.arange(max(0, len(small) - 2 * half))
        begins = begins[take[begins] == take[begins + 2 * half]]
        begins = begins[np.abs(small[begins + 2 * half] - small[begins]).mean(axis=1) >= MIN_CHANGE / 3]
        shares, misfits = _blended(small, begins, half)
        begins = begins[(np.abs(shares - 0.5) <= MAX_SKEW) & (misfits < MAX_MISFIT)]
        all_begins.append(begins)
        all_halves.append(np.full(len(begins), half))
    return np.concatenate(all_begins), np.concatenate(all_halves)


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


def _blended(small: np.ndarray, begins: np.ndarray, half: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """(share of the later end, what a blend misses), float32 [K] each, of pictures `half` steps behind `begins`."""
    way = small[begins + 2 * half] - small[begins]
    part = small[begins + half] - small[begins]
    length = np.maximum((way**2).sum(axis=1), 1e-6)
    share = (part * way).sum(axis=1) / length
    rest = part - share[:, None] * way
    return share, np.sqrt((rest**2).sum(axis=1) / length)


def _ramp(small: np.ndarray, moments: np.ndarray, begin: int, half: int) -> tuple[float, float] | None:
    """(start_s, end_s) of the straight rise from picture `begin` to the one 2 * half steps later, if it is one."""
    here = slice(begin, begin + 2 * half + 1)
    way = small[here][-1] - small[here][0]
    shares = (small[here] - small[here][0]) @ way / (way @ way)
    if np.diff(shares).min() < -0.12 or np.diff(shares).max() > 0.75:
        return None
    inner = (shares > 0.1) & (shares < 0.9)
    if inner.sum() < 2:
        return None
    # Least squares by hand: np.polyfit takes four times as long for so few points.
    at_s, share = moments[here][inner], shares[inner]
    middle_s, middle = at_s.mean(), share.mean()
    slope = float((at_s - middle_s) @ (share - middle)) / float((at_s - middle_s) @ (at_s - middle_s))
    if slope <= 0:
        return None
    start_s, end_s = middle_s - middle / slope, middle_s + (1 - middle) / slope
    return float(max(start_s, moments[here][0])), float(min(end_s, moments[here][-1]))
