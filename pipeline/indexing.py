"""What a report is found by: its sampled frames with the stretch that each speaks for, and its key segments."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.base import Likelihood
from pipeline import tags
from pipeline.finding import unit
from pipeline.report import Report, Segment
from pipeline.rescore import unpack

#: Cosine from which on a sample looks like the one that leads it. Samples of one take are at 0.9 and above by models of
#: the CLIP kind, those of different scenes at 0.5 to 0.7.
ALIKE = 0.85


@dataclass(frozen=True, slots=True)
class Index:
    """A report in the space of its encoder; N samples of D numbers, and S segments that hold a sample at least."""

    space: str
    model: str
    """As jobs ask for it."""
    likelihood: Likelihood
    """Of the encoder."""
    pts_s: np.ndarray
    """float64 [N], times of the samples, ascending."""
    starts_s: np.ndarray
    """float64 [N], from when each speaks for the video."""
    ends_s: np.ndarray
    """float64 [N], to when."""
    shots: np.ndarray
    """int64 [N], which shot each is in."""
    vectors: np.ndarray
    """float32 [N, D], of length 1."""
    segments: tuple[tuple[int, Segment], ...]
    """(place among the report's segments, segment)."""
    segment_vectors: np.ndarray
    """float32 [S, D], of length 1: the mean of a segment's samples."""

    def __post_init__(self) -> None:
        columns = (self.pts_s, self.starts_s, self.ends_s, self.shots, self.vectors)
        if len({len(column) for column in columns}) != 1 or len(self.segments) != len(self.segment_vectors):
            raise ValueError(f"{self!r}: shapes disagree")

    @property
    def alike(self) -> np.ndarray:
        """int64 [N]: see `alike`."""
        return alike(self.vectors, self.shots)

    @property
    def whole(self) -> tuple[np.ndarray, int]:
        """The video as a whole: the mean of its samples, float32 [D], of length 1; and which of them is nearest."""
        mean = unit(self.vectors.mean(0)).astype(np.float32)
        return mean, int(np.argmax(np.round(self.vectors @ mean, 6)))

    def __repr__(self) -> str:
        return f"Index(space={self.space}, vectors={self.vectors.shape}, segments={len(self.segments)})"


def index_of(report: Report, likelihood: Likelihood) -> Index | None:
    """What the report is found by; None where it keeps no vectors.

    Raises:
        InvalidSpec: its vectors are damaged.
    """
    stored = report.features.embeddings
    if stored is None or not stored.pts_s:
        return None
    pts_s, vectors = np.array(stored.pts_s, np.float64), unpack(stored)
    starts_s, ends_s = tags.holding(pts_s, report.video.duration_s)
    begins_s = np.array([shot.start_s for shot in report.shots] or [0.0])
    shots = np.maximum(np.searchsorted(begins_s, pts_s, side="right") - 1, 0)
    # A sample does not speak for a shot that it is not in.
    borders_s = np.append(begins_s[1:], np.inf)
    starts_s, ends_s = np.maximum(starts_s, begins_s[shots]), np.minimum(ends_s, borders_s[shots])
    segments, segment_vectors = means(report.segments, pts_s, vectors)
    return Index(
        space=stored.space,
        model=report.spec.model,
        likelihood=likelihood,
        pts_s=pts_s,
        starts_s=starts_s,
        ends_s=np.maximum(starts_s, ends_s),
        shots=shots,
        vectors=vectors,
        segments=segments,
        segment_vectors=segment_vectors,
    )


def alike(vectors: np.ndarray, shots: np.ndarray, least: float = ALIKE) -> np.ndarray:
    """Which samples lead others: int64 [N], for each how many stand together from it on, itself among them; 0 where
    one before it leads.

    Samples are led by the first one of a run in a shot all of which are as near to it as `least`, so that a graph of
    those that lead alone finds all. Near copies in a graph take one another's edges, and cut themselves off.

    Args:
        vectors: float32 [N, D], of length 1, in the order of time.
        shots: int64 [N], which shot each is in.
        least: cosine.
    """
    counts = np.zeros(len(vectors), np.int64)
    leader = 0
    for at in range(len(vectors)):
        led = at > 0 and shots[at] == shots[leader] and float(vectors[at] @ vectors[leader]) >= least
        if not led:
            leader = at
        counts[leader] += 1
    return counts


def means(
    segments: Sequence[Segment], pts_s: np.ndarray, vectors: np.ndarray
) -> tuple[tuple[tuple[int, Segment], ...], np.ndarray]:
    """Segments that hold a sample at least, each with its place, and what they look like, float32 [S, D], of length 1.

    Args:
        pts_s: float64 [N], times of the samples.
        vectors: float32 [N, D], of the samples, of length 1.
    """
    held, found = [], []
    for place, segment in enumerate(segments):
        within = (pts_s >= segment.start_s) & (pts_s < segment.end_s)
        if within.any():
            held.append((place, segment))
            found.append(unit(vectors[within].mean(0)))
    return tuple(held), np.array(found, np.float32).reshape(len(found), vectors.shape[1])
