"""Two videos laid alongside: how alike samples are, and how far they agree along a line; see `pipeline.aligning`."""

from collections.abc import Iterator

import numpy as np

from pipeline.tracks import BLOCK, Aligned, Limits, Scale, Track, distinctness, shows

_MATCHES_A_SAMPLE = 16
_MOST_MATCHES = 60_000
_NEAR = 0.75
"""How far from a line a match may lie, in steps of the slower of both samplings, plus `_NEAR_S`."""
_NEAR_S = 0.5
_ALIKE = 0.25
"""Likeness at which following a line neither gains nor loses."""
_STIFF_S = 4.0
"""How strongly a stretch is held to equal speed: as if by as many moments again, at this standard deviation."""
_BLANK = 0.15
"""What following loses where one video shows nothing and the other something."""


class Pair:
    """Two tracks, and how alike their samples are."""

    near_s: float
    """How far from a line a match may lie, seconds."""

    def __init__(self, a: Track, b: Track, scale: Scale) -> None:
        self._a, self._b, self._scale = a, b, scale
        self._va, self._vb = a.vectors.astype(np.float32), b.vectors.astype(np.float32)
        self._shows_a, self._shows_b = shows(a), shows(b)
        self._wa, self._wb = distinctness(a, scale), distinctness(b, scale)
        self.near_s = _NEAR * max(a.step_s, b.step_s) + _NEAR_S

    def matches(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of a, rows of b, and what each such pair's vote weighs: at most `_MOST_MATCHES` of the heaviest."""
        parts = list(self._matches())
        rows, columns, likeness = (np.concatenate(part) for part in zip(*parts, strict=True))
        weights = likeness * np.sqrt(self._wa[rows] * self._wb[columns])
        if len(rows) > _MOST_MATCHES:
            heavy = np.sort(np.argsort(-weights, kind="stable")[:_MOST_MATCHES])
            rows, columns, weights = rows[heavy], columns[heavy], weights[heavy]
        return rows, columns, weights

    def _matches(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        kept = min(_MATCHES_A_SAMPLE, len(self._vb))
        for first in range(0, len(self._va), BLOCK):
            likeness = self._scale(self._va[first : first + BLOCK] @ self._vb.T)
            best = np.argpartition(-likeness, kept - 1, axis=1)[:, :kept]
            values = np.take_along_axis(likeness, best, axis=1)
            rows, places = np.nonzero(values > 0.0)
            yield rows + first, best[rows, places], values[rows, places].astype(np.float64)

    def follow(
        self,
        slope: float,
        offset_s: float,
        rows: np.ndarray,
        columns: np.ndarray,
        limits: Limits,
    ) -> tuple[Aligned | None, np.ndarray]:
        """What both show along a line.

        Args:
            slope, offset_s: a time t of the first lies at `slope * t + offset_s` in the second.
            rows, columns: the matches that are left, as `matches` gives them.

        Returns:
            The stretch, if it is one; and which of the matches it accounts for (bool [matches]).
        """
        ta, tb = self._a.pts_s, self._b.pts_s
        low, high = 1.0 / limits.speeds[1], 1.0 / limits.speeds[0]
        span = None
        for _ in range(4):
            span = self._extent(slope, offset_s)
            if span is None:
                break
            slope, offset_s = self._fitted(slope, offset_s, span, low, high)
        off_s = np.abs(tb[columns] - (slope * ta[rows] + offset_s))
        if span is None:
            return None, off_s <= self.near_s
        first, last = span
        low_s, high_s = slope * ta[first] + offset_s, slope * ta[last] + offset_s
        # The whole rectangle: what repeats itself inside of a shared stretch is no other stretch.
        used = (rows >= first) & (rows <= last) & (tb[columns] >= low_s - self.near_s)
        used &= tb[columns] <= high_s + self.near_s
        used |= off_s <= self.near_s
        one = self._judged(slope, offset_s, first, last)
        fits = (
            low < slope < high  # a line that would be steeper if it might is no copy's
            and one.moments >= limits.least_moments
            and one.score >= limits.least_score
            and min(one.a_end_s - one.a_start_s, one.b_end_s - one.b_start_s) >= limits.least_s
        )
        return (one if fits else None), used

    def _along(self, slope: float, offset_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each sample of a: the best likeness near the line (float64), that row of b, whether b goes so far."""
        target_s = slope * self._a.pts_s + offset_s
        tb, best, where = self._b.pts_s, np.full(len(target_s), -1.0), np.zeros(len(target_s), np.int64)
        inside = (target_s >= tb[0] - self.near_s) & (target_s <= tb[-1] + self.near_s)
        begin = np.searchsorted(tb, target_s - self.near_s, side="left")
        end = np.searchsorted(tb, target_s + self.near_s, side="right")
        for shift in range(int(max((end - begin).max(initial=0), 0))):
            column = begin + shift
            there = inside & (column < end)
            near = np.where(there, column, 0)
            likeness = np.einsum("nd,nd->n", self._va[there], self._vb[near[there]])
            values = np.full(len(target_s), -1.0)
            values[there] = self._scale(likeness)
            better = values > best
            best[better], where[better] = values[better], near[better]
        return best, where, inside & (end > begin)

    def _extent(self, slope: float, offset_s: float) -> tuple[int, int] | None:
        """First and last sample of a of the stretch along a line: the one that gains most."""
        likeness, where, inside = self._along(slope, offset_s)
        blank_a, blank_b = ~self._shows_a, ~self._shows_b[where]
        gain = np.where(blank_a & blank_b, 0.0, np.where(blank_a | blank_b, -_BLANK, likeness - _ALIKE))
        gain = np.where(inside, np.maximum(gain, -0.5), -np.inf)
        best, total, start, span = 0.0, 0.0, 0, None
        for row, value in enumerate(gain.tolist()):
            if total <= 0.0:
                total, start = 0.0, row
            total += value
            if total > best:
                best, span = total, (start, row)
        return span

    def _fitted(
        self, slope: float, offset_s: float, span: tuple[int, int], low: float, high: float
    ) -> tuple[float, float]:
        """The line through the moments at which samples of the stretch are most alike, by least squares."""
        rows = np.arange(span[0], span[1] + 1)
        likeness, where, _ = self._along(slope, offset_s)
        likeness, where = likeness[rows], where[rows]
        peak_s, sharp = self._peaks(rows, where)
        weight = np.maximum(likeness, 0.0) * (sharp + 0.02) * np.sqrt(self._wa[rows] * self._wb[where])
        t = self._a.pts_s[rows]
        if np.count_nonzero(weight) < 3:
            middle_s = float(t.mean())
            return 1.0, slope * middle_s + offset_s - middle_s
        for _ in range(2):
            mean_t, mean_p = np.average(t, weights=weight), np.average(peak_s, weights=weight)
            variance = float(np.average(np.square(t - mean_t), weights=weight))
            covariance = float(np.average((t - mean_t) * (peak_s - mean_p), weights=weight))
            # Of a short stretch, a little error in time is a large one in speed: it is held to the usual one.
            held = _STIFF_S**2
            slope = min(max((covariance + held) / (variance + held), low), high)
            offset_s = float(mean_p - slope * mean_t)
            off_s = np.abs(peak_s - (slope * t + offset_s))
            weight = weight * (off_s <= max(0.5 * self.near_s, 2.0 * float(np.median(off_s))))
            if np.count_nonzero(weight) < 3:
                break
        return slope, offset_s

    def _peaks(self, rows: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """When b looks most like samples of a, between its own samples (vertex of a parabola); and how clearly."""
        tb, last = self._b.pts_s, len(self._b.pts_s) - 1
        before, after = np.maximum(where - 1, 0), np.minimum(where + 1, last)
        here, left, right = (
            np.einsum("nd,nd->n", self._va[rows], self._vb[column]) for column in (where, before, after)
        )
        sharp = np.maximum(2.0 * here - left - right, 0.0)
        share = np.where(sharp > 1e-6, 0.5 * (right - left) / np.maximum(sharp, 1e-6), 0.0)
        ends = (where == 0) | (where == last)
        share = np.where(ends, 0.0, np.clip(share, -0.5, 0.5))
        step = np.where(share < 0, tb[where] - tb[before], tb[after] - tb[where])
        return tb[where] + share * step, np.where(ends, 0.0, sharp)

    def _judged(self, slope: float, offset_s: float, first: int, last: int) -> Aligned:
        rows = np.arange(first, last + 1)
        likeness, where, _ = self._along(slope, offset_s)
        likeness, where = np.maximum(likeness[rows], 0.0), where[rows]
        both = self._shows_a[rows] & self._shows_b[where]
        moments = float((np.square(likeness) * np.sqrt(self._wa[rows] * self._wb[where])).sum())
        score = float(likeness[both].mean()) if both.any() else 0.0
        (a0, a1), (b_low, b_high) = _cell(self._a, first, last), _cell(self._b, 0, len(self._b.pts_s) - 1)
        b0, b1 = slope * a0 + offset_s, slope * a1 + offset_s
        a0 += max(0.0, b_low - b0) / slope
        a1 -= max(0.0, b1 - b_high) / slope
        return Aligned(
            a_start_s=a0,
            a_end_s=a1,
            b_start_s=slope * a0 + offset_s,
            b_end_s=slope * a1 + offset_s,
            speed=1.0 / slope,
            offset_s=offset_s,
            score=score,
            moments=moments,
        )


def _cell(track: Track, first: int, last: int) -> tuple[float, float]:
    """The time that samples first..last stand for: half way to their neighbours, seconds."""
    t, step_s = track.pts_s, track.step_s
    start = t[0] if first == 0 else 0.5 * (t[first - 1] + t[first])
    end = t[-1] + step_s if last == len(t) - 1 else 0.5 * (t[last] + t[last + 1])
    return float(start), float(end)
