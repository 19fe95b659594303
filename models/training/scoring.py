"""How good scores are: precision, recall and F1 at a threshold, average precision, and whether they are probabilities.

All take weights float64 [N], so that an example counts the same however many frames it has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_BINS = 10

RESAMPLED = 64


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """Of what was said to be shown, how much was (precision); of what was shown, how much was said (recall)."""

    precision: float
    recall: float
    f1: float


def at_threshold(said: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> AtThreshold:
    """`said` and `truth`: bool [N]. What there is nothing to divide by is 0."""
    right = float(weights[said & truth].sum())
    given, there = float(weights[said].sum()), float(weights[truth].sum())
    return AtThreshold(
        precision=right / given if given else 0.0,
        recall=right / there if there else 0.0,
        f1=2.0 * right / (given + there) if given + there else 0.0,
    )


def best_threshold(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> float:
    """The threshold with the best F1: half-way between the lowest score that it takes and the next one below."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    right, said = np.cumsum((weights * truth)[order]), np.cumsum(weights[order])
    f1 = 2.0 * right / np.maximum(said + right[-1], 1e-12)
    # Frames of one score are taken together, or not at all.
    ends = np.append(ranked[1:] < ranked[:-1], True)
    best = int(np.where(ends, f1, -1.0).argmax())
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float(ranked[best] + below) / 2.0


def steady_threshold(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray, video: np.ndarray) -> float:
    """The mean of the best thresholds of `RESAMPLED` draws of the videos, as many each time as there are.

    With tens of examples the best threshold hangs by one or two of them; with thousands this is the same one.

    Args:
        video: int64 [N], which video a frame is of.
    """
    _, place = np.unique(video, return_inverse=True)
    count = int(place.max()) + 1
    rng = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLED):
        drawn = weights * np.bincount(rng.integers(0, count, count), minlength=count)[place]
        if drawn[truth].sum() > 0.0:
            found.append(best_threshold(scores, truth, drawn))
    return float(np.mean(found)) if found else best_threshold(scores, truth, weights)


def average_precision(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> float:
    """Precision at every rank where recall grows, by how much it grows there; equal scores share a rank."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    right, said = np.cumsum((weights * truth)[order]), np.cumsum(weights[order])
    ends = np.append(ranked[1:] < ranked[:-1], True)
    precision, recall = (right / said)[ends], (right / right[-1])[ends]
    return float(precision @ np.diff(recall, prepend=0.0))


def calibration_error(p: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> float:
    """How far probabilities are from how often they came true, over ten bins of equal width, by what is in each (ECE,
    Naeini et al. 2015)."""
    bins = np.minimum((p * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.bincount(bins, weights * (p - truth), _BINS)
    return float(np.abs(gaps).sum() / weights.sum())
