"""What somebody may like, from what they liked and disliked; and what to show to somebody of whom nothing is known.

Every recommendation names its source: the liked item that it is nearest to, and by how much. So relevance is measured
against single liked items and not against their mean alone: the mean of two interests lies between them, where nobody's
interest is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.diversity import DIGITS, SAME_FROM, Near, Pick, diversify, hidden_behind

MEAN_SHARE = 0.3
"""Of relevance that goes by the mean of what was liked (Rocchio, 1971): it tells what the liked items have in common;
the rest goes by the nearest. `python -m benchmarks copies` compares."""

DISLIKE_SHARE = 0.5
"""How much of a resemblance to what was disliked is taken off, as far as it exceeds that to what was liked less
`_MARGIN`: what resembles both alike loses a little, what is far from the disliked loses nothing."""
_MARGIN = 0.2

POOL, LIBRARY = 4096, 1024
"""Of a start without a taste: most candidates that are looked at, and most items that stand for the library."""
LEAST_QUALITY = 0.05
"""The worst item is worth so much of the best that covers as much."""


@dataclass(frozen=True, slots=True)
class Taste:
    """Items that somebody liked and disliked, with their vectors."""

    liked: tuple[str, ...]
    liked_vectors: np.ndarray
    """float [L, D], L2-normalised, of the candidates' space."""
    disliked: tuple[str, ...]
    disliked_vectors: np.ndarray
    """float [K, D], the same."""

    def __post_init__(self) -> None:
        if len(self.liked) != len(self.liked_vectors) or len(self.disliked) != len(self.disliked_vectors):
            raise ValueError(
                f"{len(self.liked)} liked and {len(self.disliked)} disliked items do not fit vectors "
                f"{self.liked_vectors.shape} and {self.disliked_vectors.shape}"
            )

    def __repr__(self) -> str:
        return f"Taste(liked={len(self.liked)}, disliked={len(self.disliked)}, vectors={self.liked_vectors.shape})"


def recommend(
    taste: Taste,
    items: Sequence[str],
    vectors: np.ndarray,
    count: int,
    *,
    quality: np.ndarray | None = None,
    diversity: float = 0.3,
    same_from: float = SAME_FROM,
    copies: np.ndarray | None = None,
) -> tuple[Pick, ...]:
    """The best candidates for a taste, in the order of picking; see `diversify` for the arguments that they share.

    What was liked or disliked itself is no candidate. Without anything liked it is a start: see `beginning`; what
    resembles the disliked is then left to the last.

    Args:
        quality: float [N] in [0, 1], of a start without anything liked; None: all are as good.
    """
    known = {*taste.liked, *taste.disliked}
    rows = np.array([row for row, item in enumerate(items) if item not in known], dtype=np.int64)
    kept = [item for item in items if item not in known]
    vectors, quality = vectors[rows], None if quality is None else quality[rows]
    copies = None if copies is None else copies[rows]
    if not taste.liked:
        worth = np.ones(len(rows)) if quality is None else np.asarray(quality, np.float64)
        if taste.disliked:
            worth = worth * (1.0 - np.maximum(vectors @ taste.disliked_vectors.T, 0.0).max(1))
        return beginning(kept, vectors, worth, count, same_from=same_from, copies=copies)
    picks = diversify(
        kept, vectors, relevance(taste, vectors), count, diversity=diversity, same_from=same_from, copies=copies
    )
    where = {item: row for row, item in enumerate(kept)}
    return tuple(_with_sources(pick, taste, vectors[where[pick.item]]) for pick in picks)


def relevance(taste: Taste, vectors: np.ndarray) -> np.ndarray:
    """float [N, D] -> float64 [N], 1 for what equals everything that was liked. Somebody must have liked something."""
    to_liked = vectors.astype(np.float32, copy=False) @ taste.liked_vectors.T.astype(np.float32)
    nearest = to_liked.max(1).astype(np.float64)
    # The mean of cosines is the cosine to the mean times its length: interests that differ speak less together.
    worth = (1.0 - MEAN_SHARE) * nearest + MEAN_SHARE * to_liked.mean(1, dtype=np.float64)
    if len(taste.disliked):
        return worth - _loss(vectors, taste, nearest)
    return worth


def beginning(
    items: Sequence[str],
    vectors: np.ndarray,
    quality: np.ndarray,
    count: int,
    *,
    same_from: float = 2.0,
    copies: np.ndarray | None = None,
) -> tuple[Pick, ...]:
    """Good items that show what there is: each pick covers most of what those before it left uncovered.

    Greedy facility location (Nemhauser, Wolsey & Fisher, 1978; within 1 - 1/e of the best choice), each gain weighted
    by quality. Of more than `POOL` candidates the best and an even choice of the others are looked at.

    Args:
        quality: float [N] in [0, 1].
        same_from: similarity from which what is left is hidden behind a pick; above 1, nothing is for its looks.
        copies: see `diversify`.
    """
    if vectors.ndim != 2 or not len(items) == len(vectors) == len(quality):
        raise ValueError(f"{len(items)} items, vectors {vectors.shape} and {len(quality)} qualities do not fit")
    order = np.array(sorted(range(len(items)), key=lambda row: items[row]), dtype=np.int64)
    worth = np.round(np.asarray(quality, np.float64)[order], DIGITS)
    pool = np.arange(len(order))
    if len(order) > POOL:
        best = np.argsort(-worth, kind="stable")[: POOL // 2]
        pool = np.union1d(best, _evenly(len(order), POOL // 2))
    library = vectors[order[_evenly(len(order), LIBRARY)]].astype(np.float32)
    mine = vectors[order[pool]].astype(np.float32)
    alike = np.maximum(mine @ library.T, 0.0)
    groups = np.full(len(pool), -1) if copies is None else np.asarray(copies)[order[pool]]
    weight = np.maximum(worth[pool], LEAST_QUALITY)
    covered, left = np.zeros(len(library), np.float32), np.ones(len(pool), bool)
    chosen: list[int] = []
    gains: list[float] = []
    behind: list[tuple[Near, ...]] = []
    while len(chosen) < count and left.any():
        gain = np.maximum(alike - covered, 0.0).mean(1, dtype=np.float64) * weight
        score = np.where(left, np.round(gain, DIGITS), -np.inf)
        ties = np.flatnonzero(score == score.max())
        row = int(ties[np.argmax(weight[ties])])
        left[row] = False
        covered = np.maximum(covered, alike[row])
        chosen.append(row)
        gains.append(float(score[row]))
        hidden, near = hidden_behind(row, left, mine @ mine[row], groups, same_from)
        left[hidden] = False
        names = (items[int(order[pool[at]])] for at in hidden)
        behind.append(tuple(Near(name, likeness) for name, likeness in zip(names, near.tolist(), strict=True)))
    if not chosen:
        return ()
    shares = np.bincount(alike[chosen].argmax(0), minlength=len(chosen)) / len(library)
    return tuple(
        Pick(
            item=items[int(order[pool[row]])],
            score=gain,
            relevance=float(worth[pool[row]]),
            represents=float(share),
            stands_for=others,
        )
        for row, gain, share, others in zip(chosen, gains, shares, behind, strict=True)
    )


def _evenly(total: int, count: int) -> np.ndarray:
    """int64, at most `count` of 0..total-1, evenly spread."""
    return np.unique(np.linspace(0, total - 1, min(total, count)).astype(np.int64))


def _loss(vectors: np.ndarray, taste: Taste, nearest: np.ndarray) -> np.ndarray:
    """float64 [N], what resemblance to the disliked costs; 0 for what is clearly nearer to something liked."""
    to_disliked = (vectors.astype(np.float32, copy=False) @ taste.disliked_vectors.T.astype(np.float32)).max(1)
    return DISLIKE_SHARE * np.maximum(to_disliked - (nearest - _MARGIN), 0.0)


def _with_sources(pick: Pick, taste: Taste, vector: np.ndarray) -> Pick:
    liked = _nearest(taste.liked, taste.liked_vectors, vector)
    despite = None
    if taste.disliked:
        disliked = _nearest(taste.disliked, taste.disliked_vectors, vector)
        costs = disliked.similarity > liked.similarity - _MARGIN
        despite = disliked if costs else None
    return replace(pick, because_of=liked, despite=despite)


def _nearest(items: tuple[str, ...], vectors: np.ndarray, vector: np.ndarray) -> Near:
    """Of equal ones, the one with the smaller id."""
    similarity = np.round(vectors.astype(np.float64) @ vector.astype(np.float64), DIGITS)
    best = min(np.flatnonzero(similarity == similarity.max()), key=lambda row: items[row])
    return Near(items[best], float(similarity[best]))
