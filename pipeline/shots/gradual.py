"""Gradual transitions in a strip: fades through one colour, and dissolves.

In a dissolve, every picture between the last of the old take A and the first of the new take B is a blend
(1 - a) A + a B with the same a everywhere, rising from 0 to 1. Motion makes pictures in between that are no such blend;
an exposure change makes blends of two pictures that are the same in structure. Both tests are on thumbnails three
times smaller still, so that slow motion in A and B does not spoil the blend.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.shots.change import change

#: Step of the time grid that gradual changes are sought on, seconds.
STEP_S = 0.1

#: Half lengths that are tried, in steps: dissolves of about 0.3 to 2 s.
_HALVES = (2, 3, 4, 6, 8, 10)

#: The ends of a dissolve differ at least so much (see `change`).
MIN_CHANGE = 5.0

#: A blend may miss a picture in between by this share of the difference of the ends.
MAX_MISFIT = 0.42

#: Share of the way from A to B that single steps, motion allowed for, must add up to.
MIN_PATH = 0.5

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
    kind: str
    """dissolve or fade."""
    score: float
    """0 to 1."""


def flat_pictures(tones: np.ndarray) -> np.ndarray:
    """bool [N]: pictures of nothing but black or white; `tones` float32 [N, h, w, 3]."""
    luma = tones[..., 0]
    level = luma.mean(axis=(1, 2))
    return (luma.std(axis=(1, 2)) < _FLAT) & ((level < _DARK) | (level > _BRIGHT))


def fades(tones: np.ndarray, times_s: np.ndarray, flat: np.ndarray, plain: np.ndarray) -> list[Gradual]:
    """Runs of bare colour with pictures on both sides, widened by the time the pictures take to fade.

    Args:
        tones: float32 [N, h, w, 3], see `change.tones`.
        times_s: float64 [N], seconds.
        flat: bool [N], see `flat_pictures`.
        plain: float32 [N-1], differences of neighbours.
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flat.astype(np.int8), [0]))))
    spread = tones[..., 0].std(axis=(1, 2))
    found = []
    for first, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if first == 0 or stop == len(times_s):
            continue
        start = _follow(spread, times_s, first, -1)
        end = _follow(spread, times_s, stop - 1, 1)
        if times_s[end] - times_s[start] >= MIN_FADE_S:
            found.append(Gradual(float(times_s[start]), float(times_s[end]), "fade", 1.0))
    return _merged(found)


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


def _merged(found: list[Gradual]) -> list[Gradual]:
    out: list[Gradual] = []
    for one in found:
        if out and one.start_s <= out[-1].end_s:
            out[-1] = Gradual(out[-1].start_s, max(out[-1].end_s, one.end_s), "fade", 1.0)
        else:
            out.append(one)
    return out


def dissolves(tones: np.ndarray, times_s: np.ndarray) -> list[Gradual]:
    """Dissolves in a strip without cuts or fades, in time order.

    Args:
        tones: float32 [N, h, w, 3], see `change.tones`.
        times_s: float64 [N], seconds.
    """
    if len(times_s) < 4 or times_s[-1] - times_s[0] < 3 * STEP_S:
        return []
    grid = np.arange(times_s[0], times_s[-1] + STEP_S / 2, STEP_S)
    picks = np.clip(np.searchsorted(times_s, grid), 1, len(times_s) - 1)
    picks -= grid - times_s[picks - 1] < times_s[picks] - grid
    picks = np.unique(picks)
    pictures, moments = tones[picks], times_s[picks]
    if len(picks) < 4:
        return []
    small = _smaller(pictures)
    steps = change(pictures[:-1], pictures[1:])
    path = np.concatenate(([0.0], np.cumsum(steps)))
    found = []
    for half in _HALVES:
        found += _of_length(pictures, small, moments, path, half)
    return _best(found)


def _smaller(tones: np.ndarray) -> np.ndarray:
    """float32 [N, h, w, 3] -> [N, h // 3 * (w // 3) * 3]."""
    n, h, w, _ = tones.shape
    boxes = tones[:, : h // 3 * 3, : w // 3 * 3].reshape(n, h // 3, 3, w // 3, 3, 3)
    return boxes.mean(axis=(2, 4)).reshape(n, -1)


def _of_length(pictures: np.ndarray, small: np.ndarray, moments: np.ndarray, path: np.ndarray, half: int) -> list[Gradual]:
    """Dissolves whose ends are 2 * half grid steps apart."""
    begins = np.arange(len(pictures) - 2 * half)
    if not len(begins):
        return []
    ends = begins + 2 * half
    travelled = path[ends] - path[begins]
    begins, ends = begins[travelled >= MIN_PATH * MIN_CHANGE], ends[travelled >= MIN_PATH * MIN_CHANGE]
    found = []
    if not len(begins):
        return found
    apart = change(pictures[begins], pictures[ends])
    for begin, end, distance in zip(begins.tolist(), ends.tolist(), apart.tolist(), strict=True):
        if distance < MIN_CHANGE or path[end] - path[begin] < MIN_PATH * distance:
            continue
        fit = _fit(small[begin : end + 1], moments[begin : end + 1])
        if fit is None:
            continue
        misfit, start_s, end_s = fit
        if misfit <= MAX_MISFIT:
            found.append(Gradual(start_s, end_s, "dissolve", 1 - misfit))
    return found


def _fit(small: np.ndarray, moments: np.ndarray) -> tuple[float, float, float] | None:
    """(misfit, start_s, end_s) of the best ramp from the first to the last of `small` (float32 [K, D]), if it is one."""
    way = small[-1] - small[0]
    length = float(way @ way)
    shares = (small - small[0]) @ way / length
    rest = small - small[0] - shares[:, None] * way
    misfits = np.sqrt((rest**2).sum(axis=1) / length)
    inner = misfits[1:-1]
    steps = np.diff(shares)
    if steps.min() < -0.12 or steps.max() > 0.75:
        return None
    # The straight part of the ramp, carried on to 0 and 1, gives the true ends.
    middle = (shares > 0.1) & (shares < 0.9)
    if middle.sum() < 2:
        return None
    slope, offset = np.polyfit(moments[middle], shares[middle], 1)
    if slope <= 0:
        return None
    start_s, end_s = -offset / slope, (1 - offset) / slope
    return float(inner.max()), float(max(start_s, moments[0])), float(min(end_s, moments[-1]))


def _best(found: list[Gradual]) -> list[Gradual]:
    """The best of those that overlap."""
    kept: list[Gradual] = []
    for one in sorted(found, key=lambda g: -g.score):
        if all(one.end_s <= other.start_s or one.start_s >= other.end_s for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda g: g.start_s)
