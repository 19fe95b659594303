"""Key segments: where the weighted signals stand out from their surroundings, and why.

The extent of a segment follows the curves instead of a fixed window: of all stretches within the length bounds the one
is taken that stands out most from what surrounds it, then the next that does not overlap, until the budget is used up.
Pure functions of curves, shots and a spec, so a stored report can be scored again without its video.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from pipeline.curves import Curves
from pipeline.report import Segment, Shot, Source, Tag
from pipeline.spec import SegmentSpec

SOURCE = Source(name="pipeline.segments", version="1")

LENGTHS = 40
"""Lengths tried between min_s and max_s, in equal ratios: 2-15 s in steps of 5 %."""

LENGTH_POWER = 0.25
"""How much a long stretch is preferred to a short one that stands out as much. 0.5 would be the test statistic of
circular binary segmentation (Olshen et al. 2004), which trusts length too much here: neighbouring cells of a curve are
not independent. Of 0.25, 0.35 and 0.5 the best on benchmarks/segments.py, seed 1."""

USUAL = 0.2
"""Contrast that is nothing special in any video, on the scale of a signal; added to its own usual spread."""

_SIGMA = 1.4826
"""Median absolute deviation to standard deviation, for a normal distribution."""

VETO = 0.25
"""How much a signal that is lower than around takes away, against one that is higher: a calm novelty is still new."""

FLANK_S = 6.0
"""Shortest surroundings to compare a stretch with, on either side."""

SNAP_S = 0.75
"""How far a border may move to a shot boundary; sampled at 1 frame/s, curves are no sharper than that."""

_PHRASES = {
    "motion": "motion",
    "novelty": "novelty (it looks unlike the rest)",
    "quality": "picture quality",
    "relevance": "match with the prompts",
    "audio": "sound level",
}
_STEPS_PERCENT = (1, 2, 5, 10, 15, 20, 25, 30)
"""Beyond the last, a signal is no reason."""
_LEAST_LIFT = 0.1
"""How far above its mean in this video a signal must be to be a reason; signals are in [0, 1]."""


@dataclass(frozen=True, slots=True)
class _Mix:
    """The weighted curve and what it is made of."""

    names: tuple[str, ...]
    share: np.ndarray
    """float64 [S], weight / sum of weights."""
    parts: np.ndarray
    """float64 [S, G], share x signal."""
    cell_s: float

    @property
    def cells(self) -> int:
        return self.parts.shape[1]


def choose(curves: Curves, shots: Sequence[Shot], spec: SegmentSpec, duration_s: float) -> tuple[Segment, ...]:
    """The key segments, best score first; they never overlap.

    A video shorter than `spec.min_s` is one segment; none comes back when every signal that has weight is missing.
    """
    mix = _mix(curves, spec.weights)
    if mix is None:
        return ()
    cuts = _cells(np.array([shot.start_s for shot in shots if 0.0 < shot.start_s < duration_s]), mix)
    spans = _greedy(mix, cuts, spec, duration_s)
    cuts_s = [shot.start_s for shot in shots]
    # min_s in whole cells may be more than max_s.
    in_s = [
        (first * mix.cell_s, min(last * mix.cell_s, first * mix.cell_s + spec.max_s, duration_s))
        for first, last in spans
    ]
    placed = _snapped(in_s, cuts_s, spec, duration_s)
    found = [_segment(mix, curves, start_s, end_s) for start_s, end_s in placed]
    return tuple(sorted(found, key=lambda segment: (-segment.score, segment.start_s)))


def tagged(segments: Sequence[Segment], tags: Sequence[Tag]) -> tuple[Segment, ...]:
    """The segments, each with the labels of the tags that hold in some of it, most probable first."""
    return tuple(msgspec.structs.replace(segment, tags=_labels_in(segment, tags)) for segment in segments)


def _labels_in(segment: Segment, tags: Sequence[Tag]) -> tuple[str, ...]:
    best: dict[str, float] = {}
    for tag in tags:
        for span in tag.ranges:
            if tag.kind == "tag" and span.start_s < segment.end_s and span.end_s > segment.start_s:
                best[tag.label] = max(best.get(tag.label, 0.0), span.score)
    return tuple(sorted(best, key=lambda label: (-best[label], label)))


def _mix(curves: Curves, weights: dict[str, float]) -> _Mix | None:
    names = tuple(name for name in sorted(curves.values) if weights.get(name, 0.0) > 0.0)
    if not names:
        return None
    weight = np.array([weights[name] for name in names])
    share = weight / weight.sum()
    parts = np.stack([curves.values[name].astype(np.float64) for name in names]) * share[:, None]
    return _Mix(names, share, parts, curves.cell_s)


def _cells(times_s: np.ndarray, mix: _Mix) -> np.ndarray:
    return np.clip(np.round(times_s / mix.cell_s).astype(np.int64), 0, mix.cells)


# --- candidates and choice ------------------------------------------------------------------------------------------


def _greedy(mix: _Mix, cuts: np.ndarray, spec: SegmentSpec, duration_s: float) -> list[tuple[int, int]]:
    """Non-overlapping spans of cells, most outstanding first, within the budget."""
    budget_s = min(duration_s, spec.target_s or math.inf)
    shortest = max(1, math.ceil(spec.min_s / mix.cell_s - 1e-6))
    if mix.cells <= shortest:
        return [(0, mix.cells)] if spec.max_segments and duration_s <= budget_s + 1e-9 else []
    longest = max(shortest, math.floor(spec.max_s / mix.cell_s + 1e-6))
    first, last = _candidates(mix.cells, shortest, min(longest, mix.cells), cuts)
    merit = outstanding(mix, first, last)
    chosen: list[tuple[int, int]] = []
    left = math.floor(budget_s / mix.cell_s + 1e-6)
    open_ = np.ones(len(first), bool)
    while len(chosen) < spec.max_segments:
        open_ &= last - first <= left
        if not open_.any():
            break
        best = int(np.argmax(np.where(open_, merit, -np.inf)))
        span = int(first[best]), int(last[best])
        chosen.append(span)
        left -= span[1] - span[0]
        open_ &= (first >= span[1]) | (last <= span[0])
    return chosen


def _candidates(cells: int, shortest: int, longest: int, cuts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every stretch of the tried lengths, and every run of shots within the bounds: int64 [C] first, last."""
    lengths = np.unique(np.geomspace(shortest, longest, LENGTHS).round().astype(np.int64))
    first = np.concatenate([np.arange(cells - length + 1) for length in lengths])
    last = first + np.repeat(lengths, cells - lengths + 1)
    borders = np.unique(np.concatenate([[0], cuts, [cells]]))
    starts, ends = [first], [last]
    # A run of more than a few shots is found among the plain stretches as well.
    for shots in (1, 2, 3):
        begin, end = borders[:-shots], borders[shots:]
        fits = (end - begin >= shortest) & (end - begin <= longest)
        starts.append(begin[fits])
        ends.append(end[fits])
    return np.concatenate(starts), np.concatenate(ends)


def outstanding(mix: _Mix, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """How much each stretch [first, last) stands out: float64 [C].

    For every signal, its mean inside against that of the surroundings on both sides (as long as the stretch, at least
    `FLANK_S`) and against the whole video, half and half: the first term finds the borders of a peak, the second keeps
    parts of a long lively passage worth more than ripples in a dull one. Each contrast counts by how unusual it is for
    its signal (`USUAL`), and they are joined by their squares (those below 0 times `VETO`), so that one clear signal
    beats a little of everything. The whole is weighed by length to the power `LENGTH_POWER`.
    """
    flank = np.maximum(last - first, round(FLANK_S / mix.cell_s))
    before, after = np.maximum(first - flank, 0), np.minimum(last + flank, mix.cells)
    around_count = (first - before) + (after - last)
    joined = np.zeros(len(first))
    for part, share in zip(mix.parts, mix.share, strict=True):
        sums = np.concatenate([[0.0], np.cumsum(part)])
        overall = sums[-1] / mix.cells
        around_sum = (sums[first] - sums[before]) + (sums[after] - sums[last])
        around = np.where(around_count > 0, around_sum / np.maximum(around_count, 1), overall)
        contrast = (sums[last] - sums[first]) / (last - first) - (around + overall) / 2.0
        spread = _SIGMA * float(np.median(np.abs(contrast - np.median(contrast)))) / share
        contrast /= spread + USUAL
        joined += np.where(contrast > 0, 1.0, -VETO) * np.square(contrast)
    length_s = (last - first) * mix.cell_s
    return np.sign(joined) * np.sqrt(np.abs(joined)) * length_s**LENGTH_POWER


# --- borders --------------------------------------------------------------------------------------------------------


def _snapped(
    spans: list[tuple[float, float]], cuts_s: list[float], spec: SegmentSpec, duration_s: float
) -> list[tuple[float, float]]:
    """Spans in seconds with borders moved to near cuts, as far as bounds, budget and neighbours allow."""
    borders = np.array(sorted({0.0, *cuts_s, duration_s}))
    placed = list(spans)
    budget_s = (spec.target_s or math.inf) - sum(end_s - start_s for start_s, end_s in placed)
    for number, (start_s, end_s) in enumerate(placed):
        others = placed[:number] + placed[number + 1 :]
        wishes = [
            (_near(borders, start_s), _near(borders, end_s)),
            (_near(borders, start_s), end_s),
            (start_s, _near(borders, end_s)),
        ]
        for start, end in wishes:
            longer = (end - start) - (end_s - start_s)
            in_bounds = spec.min_s - 1e-9 <= end - start <= spec.max_s + 1e-9
            free = all(end <= other_start or start >= other_end for other_start, other_end in others)
            if in_bounds and free and longer <= budget_s:
                placed[number] = (start, end)
                budget_s -= longer
                break
    return placed


def _near(borders: np.ndarray, time_s: float) -> float:
    nearest = float(borders[np.argmin(np.abs(borders - time_s))])
    return nearest if abs(nearest - time_s) <= SNAP_S else time_s


# --- what a segment says --------------------------------------------------------------------------------------------


def _segment(mix: _Mix, curves: Curves, start_s: float, end_s: float) -> Segment:
    first = int(np.clip(np.floor(start_s / mix.cell_s + 0.5), 0, mix.cells - 1))
    last = int(np.clip(np.floor(end_s / mix.cell_s + 0.5), first + 1, mix.cells))
    contributions = mix.parts[:, first:last].mean(1)
    return Segment(
        start_s=round(start_s, 3),
        end_s=round(end_s, 3),
        score=float(contributions.sum()),
        signals={name: float(value) for name, value in zip(mix.names, contributions, strict=True)},
        reasons=_reasons(mix, first, last),
        thumbnail_s=round(float(np.clip(_thumbnail(mix, curves, first, last), start_s, end_s)), 3),
        source=SOURCE,
    )


def _reasons(mix: _Mix, first: int, last: int) -> tuple[str, ...]:
    """What sets the stretch apart, strongest first: signals that lift it above the video's mean, by how much."""
    lift = mix.parts[:, first:last].mean(1) - mix.parts.mean(1)
    found = []
    for row in np.argsort(-lift, kind="stable"):
        if lift[row] < _LEAST_LIFT * mix.share[row]:
            continue
        percent = _top_percent(mix.parts[row], first, last)
        if percent is not None:
            found.append(f"{_PHRASES.get(mix.names[row], mix.names[row])} is in the top {percent} % of this video")
    return tuple(found) or ("no signal stands out; the stretch has the best mix of them",)


def _top_percent(curve: np.ndarray, first: int, last: int) -> int | None:
    """The smallest step such that the stretch's mean is among that share of all stretches of its length."""
    sums = np.concatenate([[0.0], np.cumsum(curve)])
    length = last - first
    means = sums[length:] - sums[:-length]
    share = 100.0 * float(np.mean(means >= means[first] - 1e-12))
    return next((step for step in _STEPS_PERCENT if share <= step), None)


def _thumbnail(mix: _Mix, curves: Curves, first: int, last: int) -> float:
    """Time of the best-looking cell inside; of the highest one where quality was not measured."""
    margin = 1 if last - first > 2 else 0  # the first and last cell may hold half of a transition
    curve = curves.values["quality"] if "quality" in curves.values else mix.parts.sum(0)
    inside = slice(first + margin, last - margin)
    return float(curves.pts_s[inside][np.argmax(curve[inside])])
