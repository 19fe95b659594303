"""Which videos of a library a video shares stretches with: copies, excerpts, uploads with another beginning.

Nearest neighbours of its samples name those that may (they come from an index, whichever), a vote leaves a few of them,
and each of these is laid alongside: `pipeline.aligning`. Nothing here reads the whole library.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.aligning import align
from pipeline.tracks import LIMITS, Aligned, Limits, Scale, Track, distinctness

LOOKS_SCALE = Scale(unrelated=0.44, same=0.92)
"""Of vectors of `pipeline.looks`; docs/decisions/0017 says how it was found."""

NEIGHBOURS = 20
"""Hits of a sample that are worth asking an index for."""

UNRELATED = 0.99
"""Share of the pairs of samples of different videos that are less alike than `Scale.unrelated`."""
_SAME_SHARE = 0.86
"""Where between `unrelated` and 1 the same moment of a copy usually is: re-encoded, cropped, half a second off."""
_LEAST_PAIRS = 10_000

_LEAST_VOTES = 1.5
_SPEEDS = 9
_BIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Hits:
    """Nearest neighbours of a video's samples among those of a library, in no particular order."""

    query: np.ndarray
    """int [K], row of the video's own sample."""
    video: np.ndarray
    """int [K], number of the video that was hit; any numbers will do."""
    pts_s: np.ndarray
    """float64 [K], when in that video, seconds."""
    similarity: np.ndarray
    """float [K], cosine."""

    def __post_init__(self) -> None:
        if not len(self.query) == len(self.video) == len(self.pts_s) == len(self.similarity):
            raise ValueError(
                f"{len(self.query)} rows, {len(self.video)} videos, {len(self.pts_s)} times and "
                f"{len(self.similarity)} similarities do not fit"
            )

    def __repr__(self) -> str:
        return f"Hits(K={len(self.query)}, videos={len(np.unique(self.video))})"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A video that may share something."""

    video: int
    votes: float
    """How many different pictures lie on one line, roughly."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What a video has in common with another one."""

    video: int
    stretches: tuple[Aligned, ...]
    """Ranges of the video that was asked about (a) and of the other (b), best first."""
    share: float
    """Of the video that was asked about: how much of it the other one shows, 0 to 1."""
    share_of_other: float

    @property
    def whole(self) -> bool:
        """Whether the shorter one is all but contained in the other: near-duplicates, but for a beginning or an end."""
        return max(self.share, self.share_of_other) >= WHOLE_FROM


WHOLE_FROM = 0.8
"""Share of a video from which it counts as contained in another one."""


def find(
    query: Track,
    hits: Hits,
    load: Callable[[int], Track],
    *,
    scale: Scale = LOOKS_SCALE,
    limits: Limits = LIMITS,
    most: int = 20,
) -> tuple[Shared, ...]:
    """The videos that `query` shares stretches with, most shared moments first.

    Args:
        hits: of its samples; those of the video itself are to be left out.
        load: gives the track of a video by its number; called for at most `most` of them.
    """
    likely = candidates(query, hits, scale=scale, limits=limits, most=most)
    return aligned(query, likely, load, scale=scale, limits=limits)


def aligned(
    query: Track,
    likely: Iterable[Candidate],
    load: Callable[[int], Track],
    *,
    scale: Scale = LOOKS_SCALE,
    limits: Limits = LIMITS,
) -> tuple[Shared, ...]:
    """Those of the candidates that `query` shares stretches with, most shared moments first. `load`: as of `find`."""
    found = []
    for candidate in likely:
        other = load(candidate.video)
        stretches = align(query, other, scale, limits)
        if stretches:
            found.append(
                Shared(
                    video=candidate.video,
                    stretches=stretches,
                    share=_covered([(one.a_start_s, one.a_end_s) for one in stretches], query),
                    share_of_other=_covered([(one.b_start_s, one.b_end_s) for one in stretches], other),
                )
            )
    return tuple(sorted(found, key=lambda one: (-sum(s.moments for s in one.stretches), one.video)))


def candidates(
    query: Track, hits: Hits, *, scale: Scale = LOOKS_SCALE, limits: Limits = LIMITS, most: int = 20
) -> tuple[Candidate, ...]:
    """The videos whose hits lie on a line, most votes first; equal ones by number."""
    likeness = scale(np.asarray(hits.similarity, np.float64))
    kept = likeness > 0.0
    if not kept.any():
        return ()
    rows, times_s, likeness = hits.query[kept], hits.pts_s[kept], likeness[kept]
    numbers, video = np.unique(hits.video[kept], return_inverse=True)
    weight = likeness * distinctness(query, scale)[rows]
    votes = np.zeros(len(numbers))
    for slope in 1.0 / np.linspace(*limits.speeds, _SPEEDS):
        for phase in (0.0, 0.5):
            place = np.floor((times_s - slope * query.pts_s[rows]) / _BIN_S + phase).astype(np.int64)
            place -= place.min()
            votes = np.maximum(
                votes, _most_votes(video * (int(place.max()) + 1) + place, rows, video, weight, len(votes))
            )
    order = np.lexsort((numbers, -np.round(votes, 6)))[:most]
    return tuple(Candidate(int(numbers[at]), float(votes[at])) for at in order if votes[at] >= _LEAST_VOTES)


def measured_scale(vectors: np.ndarray, videos: np.ndarray) -> Scale | None:
    """What cosines mean in a space, measured on samples of a library; None where it is too small to tell.

    Args:
        vectors: float [N, D], L2-normalised: some thousand samples are enough, of as many videos as there are.
        videos: int [N], the number of the video of each.
    """
    rng = np.random.default_rng(0)
    tells = np.flatnonzero(np.any(vectors != 0, axis=1))
    if not len(tells):
        return None
    first, second = tells[rng.integers(len(tells), size=(2, 10 * _LEAST_PAIRS))]
    apart = videos[first] != videos[second]
    if np.count_nonzero(apart) < _LEAST_PAIRS or len(tells) ** 2 < _LEAST_PAIRS:
        return None
    pairs = vectors[first[apart]].astype(np.float32), vectors[second[apart]].astype(np.float32)
    unrelated = max(0.0, float(np.quantile(np.einsum("nd,nd->n", *pairs), UNRELATED)))
    return Scale(unrelated, unrelated + _SAME_SHARE * (1.0 - unrelated))


def groups(count: int, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """Numbers of the groups that pairs of near-duplicates make, for `diversity.diversify`.

    Args:
        count: of videos, numbered 0 to count - 1.
        pairs: numbers of two videos each, of which one is contained in the other (`Shared.whole`).

    Returns:
        int64 [count]; -1 for a video without a copy. A group has the number of its first member.
    """
    first = np.arange(count)

    def root(number: int) -> int:
        while first[number] != number:
            first[number] = first[first[number]]
            number = int(first[number])
        return number

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        first[high] = low
    roots = np.array([root(number) for number in range(count)], dtype=np.int64)
    return np.where(np.bincount(roots, minlength=count)[roots] > 1, roots, -1)


def _most_votes(cell: np.ndarray, rows: np.ndarray, video: np.ndarray, weight: np.ndarray, videos: int) -> np.ndarray:
    """Votes of each video's fullest cell, float64 [videos]; a sample votes once for a cell, by its best hit."""
    order = np.lexsort((-weight, rows, cell))
    cell, rows, video, weight = cell[order], rows[order], video[order], weight[order]
    fresh = np.append(True, (np.diff(cell) != 0) | (np.diff(rows) != 0))
    starts = np.flatnonzero(np.append(True, np.diff(cell) != 0))
    totals = np.add.reduceat(np.where(fresh, weight, 0.0), starts)
    best = np.zeros(videos)
    np.maximum.at(best, video[starts], totals)
    return best


def _covered(ranges: Sequence[tuple[float, float]], track: Track) -> float:
    """Share of a track's length that ranges cover together."""
    end_s, total = float(track.pts_s[0]), 0.0
    for start, stop in sorted(ranges):
        total += max(0.0, stop - max(start, end_s))
        end_s = max(end_s, stop)
    return min(1.0, total / max(float(track.pts_s[-1] - track.pts_s[0]) + track.step_s, 1e-6))
