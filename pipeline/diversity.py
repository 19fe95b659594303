"""Picks a few of many: relevant ones that do not all say the same, each with its reason.

Pure functions over unit vectors; items are known by their ids. The order in which candidates come changes nothing,
not even the last bit: they are put in the order of their ids first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DIGITS = 6
"""Scores that agree so far are equal: the rounding of a matrix product must not choose."""

SAME_FROM = 0.98
"""Similarity from which two items are near-duplicates: one of them stands for both."""


@dataclass(frozen=True, slots=True)
class Near:
    """Another item, and how much it resembles the one that is spoken of."""

    item: str
    similarity: float
    """Cosine; 1 for one that is known as a copy."""


@dataclass(frozen=True, slots=True)
class Pick:
    """An item that was picked, and why."""

    item: str
    score: float
    """What it was picked by: (1 - diversity) x relevance - diversity x penalty."""
    relevance: float
    penalty: float = 0.0
    """Similarity to the most similar item picked before, at least 0."""
    like: Near | None = None
    """That item, where there is a penalty."""
    because_of: Near | None = None
    """The liked item that it is nearest to."""
    despite: Near | None = None
    """The disliked item that it is nearest to, where that cost it relevance."""
    represents: float = 0.0
    """Of a pick without a taste to go by: share of the library that it is the nearest pick to."""
    stands_for: tuple[Near, ...] = ()
    """Near-duplicates of it that are not picked any more, the most similar first."""


def diversify(
    items: Sequence[str],
    vectors: np.ndarray,
    relevance: np.ndarray,
    count: int,
    *,
    diversity: float = 0.3,
    same_from: float = SAME_FROM,
    copies: np.ndarray | None = None,
) -> tuple[Pick, ...]:
    """Maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998), in the order of picking.

    Equal scores go to the more relevant item, then to the smaller id.

    Args:
        items: ids of N candidates, each once.
        vectors: float [N, D], L2-normalised, of one space.
        relevance: float [N], best on the scale of the cosines between candidates.
        count: most picks; near-duplicates that are hidden do not count.
        diversity: 0: the most relevant, whatever they look like; 1: the most different, whatever they are worth.
        same_from: see `SAME_FROM`; above 1, nothing is hidden for its looks.
        copies: int [N], the number of the group of copies that a candidate is known to belong to; -1: none.

    Raises:
        ValueError: shapes that do not fit, ids that come twice, a `diversity` outside 0..1.
    """
    _check(items, vectors, relevance, diversity)
    order = sorted(range(len(items)), key=lambda row: items[row])
    vectors = np.ascontiguousarray(vectors[order], dtype=np.float32)
    worth = np.round(np.asarray(relevance, np.float64)[order], DIGITS)
    groups = np.full(len(order), -1) if copies is None else np.asarray(copies)[order]
    left = np.ones(len(order), bool)
    penalty, like = np.zeros(len(order)), np.full(len(order), -1)
    picks: list[Pick] = []
    while len(picks) < count and left.any():
        score = np.where(left, np.round((1.0 - diversity) * worth - diversity * penalty, DIGITS), -np.inf)
        best = np.flatnonzero(score == score.max())
        row = int(best[np.argmax(worth[best])])
        similarity = (vectors @ vectors[row]).astype(np.float64)
        left[row] = False
        hidden, near = hidden_behind(row, left, similarity, groups, same_from)
        left[hidden] = False
        picks.append(
            Pick(
                item=items[order[row]],
                score=float(score[row]),
                relevance=float(worth[row]),
                penalty=float(penalty[row]),
                like=Near(items[order[int(like[row])]], float(penalty[row])) if like[row] >= 0 else None,
                stands_for=tuple(
                    Near(items[order[int(at)]], likeness)
                    for at, likeness in zip(hidden.tolist(), near.tolist(), strict=True)
                ),
            )
        )
        similarity = np.round(similarity, DIGITS)
        closer = similarity > penalty
        penalty[closer], like[closer] = similarity[closer], row
    return tuple(picks)


def hidden_behind(
    row: int, left: np.ndarray, similarity: np.ndarray, groups: np.ndarray, same_from: float
) -> tuple[np.ndarray, np.ndarray]:
    """What is picked no more since a row was: near-duplicates of it, and its known copies.

    Args:
        left: bool [N], what could still be picked, without the row.
        similarity: float [N], to the row.
        groups: int [N], as `copies` of `diversify`.

    Returns:
        Which those are, int64 [H], the most similar first; and how similar, float64 [H], 1 for a known copy.
    """
    known = left & (groups == groups[row]) & (groups >= 0)
    hidden = np.flatnonzero(left & (similarity >= same_from) | known)
    near = np.round(np.where(known[hidden], 1.0, similarity[hidden]).astype(np.float64), DIGITS)
    order = np.argsort(-near, kind="stable")
    return hidden[order], near[order]


def spread(vectors: np.ndarray) -> float:
    """Mean distance (1 - cosine) between two of them: how diverse a list is. float [N, D], N >= 2."""
    count = len(vectors)
    if count < 2:
        raise ValueError(f"{count} vectors have no distance between them")
    total = float(np.square(vectors.astype(np.float64).sum(0)).sum())
    return 1.0 - (total - count) / (count * (count - 1))


def _check(items: Sequence[str], vectors: np.ndarray, relevance: np.ndarray, diversity: float) -> None:
    if vectors.ndim != 2 or not len(items) == len(vectors) == len(relevance):
        raise ValueError(f"{len(items)} items, vectors {vectors.shape} and {len(relevance)} relevances do not fit")
    if len(set(items)) != len(items):
        raise ValueError("an item comes twice among the candidates")
    if not 0.0 <= diversity <= 1.0:
        raise ValueError(f"{diversity = } must be in 0..1")
