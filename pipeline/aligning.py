"""Where two videos show the same: time ranges of one laid on time ranges of the other, at a speed of their own.

Both come as a vector for each sampled frame. Pairs of samples that look alike vote for the lines (speed, offset) that
they lie on (Hough, 1962; Duda & Hart, CACM 1972); the best line is fitted, laid along both videos and followed as far
as they agree, and the search goes on with what is left. What stands still cannot say when it was: each sample votes
with one over the number of samples of its own video that look the same, so that a still hour is one moment.
"""

import numpy as np

from pipeline.alongside import Pair
from pipeline.tracks import LIMITS, Aligned, Limits, Scale, Track


def align(a: Track, b: Track, scale: Scale, limits: Limits = LIMITS) -> tuple[Aligned, ...]:
    """Every stretch that both show, best first; empty where there is none.

    Work grows with the product of both lengths, memory with their sum: two hours at a sample a second take seconds.
    """
    if len(a.pts_s) < 2 or len(b.pts_s) < 2:
        return ()
    pair = Pair(a, b, scale)
    rows, columns, weights = pair.matches()
    found: list[Aligned] = []
    for _ in range(2 * limits.most):
        if not len(rows) or len(found) == limits.most:
            break
        slope, offset_s, votes = _elect(a.pts_s[rows], b.pts_s[columns], weights, pair.near_s, limits)
        if votes < 0.5 * limits.least_moments:
            break
        one, used = pair.follow(slope, offset_s, rows, columns, limits)
        if one is not None:
            found.append(one)
        rows, columns, weights = rows[~used], columns[~used], weights[~used]
    return tuple(sorted(found, key=lambda one: -one.moments * one.score))


def _elect(
    ta: np.ndarray, tb: np.ndarray, weights: np.ndarray, near_s: float, limits: Limits
) -> tuple[float, float, float]:
    """Slope, offset (seconds) and votes of the line with the most votes."""
    length_s = max(float(np.ptp(ta)), float(np.ptp(tb)), 1.0)
    low, high = 1.0 / limits.speeds[1], 1.0 / limits.speeds[0]
    steps = int(np.clip((high - low) * length_s / near_s, 9, 161)) | 1
    slopes = np.unique(np.append(np.linspace(low, high, steps), 1.0))
    best = (1.0, 0.0, -1.0)
    for slope in slopes[np.argsort(np.abs(slopes - 1.0), kind="stable")]:
        offset_s = tb - slope * ta
        lowest = offset_s.min()
        votes = np.bincount(((offset_s - lowest) / near_s).astype(np.int64), weights=weights)
        two = votes + np.append(votes[1:], 0.0)
        top = int(two.argmax())
        if two[top] > 1.02 * best[2]:
            best = (float(slope), float(lowest + (top + 1) * near_s), float(two[top]))
    return best
