"""How far two models agree: on labels over time, on which frames are alike, on what is worth showing.

Pure functions of arrays and ranges. Vectors of two spaces are never compared with each other: what is compared is what
each model makes of its own.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.record import Record

NEIGHBOURS = 10
"""How many nearest frames are looked at; of few frames, a fifth."""

KEPT = 0.5
"""Two stretches that overlap by this share of what they cover together are the same choice."""


class Span(Record, frozen=True, kw_only=True):
    """A stretch of a video, seconds."""

    start_s: float
    end_s: float


class LabelAgreement(Record, frozen=True, kw_only=True):
    """When two models say that a label holds."""

    label: str
    both_s: float
    only_a_s: float
    only_b_s: float
    agreement: float
    """Time in which both say so, as a share of the time in which one does."""
    share_a: float
    """Share of the video in which A says so."""
    share_b: float
    ranges_a: tuple[Span, ...] = ()
    ranges_b: tuple[Span, ...] = ()


class Neighbourhoods(Record, frozen=True, kw_only=True):
    """Whether the same frames are alike to two models."""

    frames: int
    spearman: float | None
    """Rank correlation between how alike every two frames are to A and to B, -1 to 1; None where to one of them all
    pairs are equally alike."""
    nearest: int
    """How many nearest frames of each frame were compared."""
    overlap: float
    """Share of them that is the same, 0 to 1, mean over the frames."""
    by_chance: float
    """What it would be for two models that have nothing to do with each other."""


class Cosines(Record, frozen=True, kw_only=True):
    """Between the vectors that two versions of a model, of one space, give for the same frame."""

    mean: float
    lowest: float
    lowest_s: float
    """Time of the frame where it is lowest, seconds."""


class SegmentChange(Record, frozen=True, kw_only=True):
    """Two choices of key segments for the same video."""

    overlap: float
    """Seconds that both chose, as a share of those that one did; 1 where neither chose any."""
    kept: int
    """Segments of A for which B has one that overlaps by half or more."""
    a: tuple[Span, ...]
    b: tuple[Span, ...]


# --- ranges ---------------------------------------------------------------------------------------------------------

Ranges = Sequence[Span]
"""Ascending, and none overlaps another."""


def length_s(ranges: Ranges) -> float:
    """Seconds that ranges cover."""
    return sum(span.end_s - span.start_s for span in ranges)


def shared_s(a: Ranges, b: Ranges) -> float:
    """Seconds that lie in a range of each."""
    return sum(max(0.0, min(one.end_s, other.end_s) - max(one.start_s, other.start_s)) for one in a for other in b)


def _share(both_s: float, a: Ranges, b: Ranges) -> float:
    either_s = length_s(a) + length_s(b) - both_s
    return both_s / either_s if either_s > 0 else 1.0


def label_agreements(a: Mapping[str, Ranges], b: Mapping[str, Ranges], duration_s: float) -> tuple[LabelAgreement, ...]:
    """Every label that one of two models finds in a video, that which they disagree on longest first.

    Args:
        a: label -> when A says that it holds; as `b` of B.
    """
    found = []
    for label in dict.fromkeys((*a, *b)):
        one, other = a.get(label, ()), b.get(label, ())
        both_s = shared_s(one, other)
        found.append(
            LabelAgreement(
                label=label,
                both_s=both_s,
                only_a_s=length_s(one) - both_s,
                only_b_s=length_s(other) - both_s,
                agreement=_share(both_s, one, other),
                share_a=length_s(one) / max(duration_s, 1e-9),
                share_b=length_s(other) / max(duration_s, 1e-9),
                ranges_a=tuple(one),
                ranges_b=tuple(other),
            )
        )
    return tuple(sorted(found, key=lambda label: (-(label.only_a_s + label.only_b_s), -label.both_s, label.label)))


def agreement(labels: Sequence[LabelAgreement]) -> float | None:
    """Of all labels together: as `LabelAgreement.agreement`. None where neither found any."""
    either_s = sum(label.both_s + label.only_a_s + label.only_b_s for label in labels)
    return sum(label.both_s for label in labels) / either_s if either_s > 0 else None


def segment_change(a: Ranges, b: Ranges) -> SegmentChange:
    """Two choices, in any order, neither of which overlaps itself."""
    a, b = (sorted(spans, key=lambda span: span.start_s) for spans in (a, b))
    kept = sum(any(_share(shared_s([one], [other]), [one], [other]) >= KEPT for other in b) for one in a)
    return SegmentChange(overlap=_share(shared_s(a, b), a, b), kept=kept, a=tuple(a), b=tuple(b))


# --- which frames are alike -----------------------------------------------------------------------------------------


def neighbourhoods(a: np.ndarray, b: np.ndarray) -> tuple[Neighbourhoods, np.ndarray] | None:
    """Compare which frames are alike to two models.

    Args:
        a: float32 [N, D], L2-normalised, what A gives for the frames; as `b` [N, E] of B, in a space of its own.

    Returns:
        The figures, and float64 [N]: the share of each frame's nearest ones that is the same. None below 3 frames.
    """
    count = len(a)
    if count < 3:
        return None
    alike = [vectors.astype(np.float64) @ vectors.T.astype(np.float64) for vectors in (a, b)]
    upper = np.triu_indices(count, 1)
    nearest = min(NEIGHBOURS, max(1, (count - 1) // 5))
    near = [_nearest(one, nearest) for one in alike]
    each = (near[0] & near[1]).sum(1) / nearest
    figures = Neighbourhoods(
        frames=count,
        spearman=spearman(alike[0][upper], alike[1][upper]),
        nearest=nearest,
        overlap=float(each.mean()),
        by_chance=nearest / (count - 1),
    )
    return figures, each


def spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    """Rank correlation of two rows of numbers; equal ones share their mean rank. None where all of a row are equal."""
    ranks = [_ranks(values) for values in (a, b)]
    centred = [rank - rank.mean() for rank in ranks]
    lengths = [float(np.linalg.norm(rank)) for rank in centred]
    return None if 0.0 in lengths else float(centred[0] @ centred[1] / (lengths[0] * lengths[1]))


def _ranks(values: np.ndarray) -> np.ndarray:
    # To six digits: what differs by less, differs by the order in which a product was added up.
    _, place, counts = np.unique(np.round(values, 6), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2.0)[place]


def _nearest(alike: np.ndarray, count: int) -> np.ndarray:
    """bool [N, N]: which others are the `count` nearest of each; of equals, the earlier."""
    own = alike.copy()
    np.fill_diagonal(own, -np.inf)
    order = np.argsort(-np.round(own, 6), axis=1, kind="stable")[:, :count]
    near = np.zeros(own.shape, bool)
    np.put_along_axis(near, order, True, axis=1)
    return near


def most_alike(vectors: np.ndarray, row: int) -> int:
    """The other frame that is most like the one of this row, of 2 frames or more."""
    alike = vectors @ vectors[row]
    alike[row] = -np.inf
    return int(np.argmax(alike))


def cosines(a: np.ndarray, b: np.ndarray, pts_s: np.ndarray) -> tuple[Cosines, np.ndarray] | None:
    """Of two versions of one model, in one space: float32 [N, D] each, L2-normalised.

    Returns:
        The figures, and float64 [N], the cosine of each frame. None where there is no frame.
    """
    if not len(a):
        return None
    each = np.clip(np.einsum("nd,nd->n", a.astype(np.float64), b.astype(np.float64)), -1.0, 1.0)
    lowest = int(np.argmin(each))
    return Cosines(mean=float(each.mean()), lowest=float(each[lowest]), lowest_s=float(pts_s[lowest])), each


# --- where they disagree --------------------------------------------------------------------------------------------


def label_difference(a: np.ndarray, b: np.ndarray, thresholds_a: np.ndarray, thresholds_b: np.ndarray) -> np.ndarray:
    """How much two models say different things of each frame.

    Args:
        a: float [N, L], what A takes the probability of each label for; as `b` of B.
        thresholds_a: float [L], from which on A says that a label holds; as `thresholds_b` of B.

    Returns:
        float64 [N]: over the labels that one of them says hold, and the other does not, the sum of the differences.
    """
    apart = (a >= thresholds_a) != (b >= thresholds_b)
    return np.where(apart, np.abs(a.astype(np.float64) - b.astype(np.float64)), 0.0).sum(1)


def furthest_apart(differences: Sequence[np.ndarray], pts_s: np.ndarray, most: int, apart_s: float) -> tuple[int, ...]:
    """Rows of the frames that two models disagree on most, the worst first; those next to one of them are left out.

    Args:
        differences: float [N] each, 0 where they agree; a later one decides among those that are equal in the earlier.
        pts_s: float64 [N], seconds.
        most: how many at most.
        apart_s: how far from each other they lie at least, seconds.
    """
    chosen: list[int] = []
    for row in np.lexsort([-np.round(one, 6) for one in reversed(differences)]):
        if len(chosen) == most:
            break
        differs = any(one[row] > 1e-6 for one in differences)
        if differs and all(abs(pts_s[row] - pts_s[other]) >= apart_s for other in chosen):
            chosen.append(int(row))
    return tuple(chosen)
