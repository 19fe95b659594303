"""Tags of a video from the vectors that are kept of it: other labels, thresholds and heads, and nothing is decoded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from models.base import Likelihood
from pipeline import tags
from pipeline.report import Source, Tag
from pipeline.tags import LabelVectors

#: Digits of a probability: what lies behind them is different from one processor to the next, and the same vectors are
#: to have the same tags whenever and wherever they are looked at.
DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Taught:
    """What was learnt for a label."""

    threshold: float
    number: int
    """Counts what was learnt for this label, from 1."""
    head: Callable[[np.ndarray], np.ndarray] | None = None
    """float32 [N, D] -> [N], probabilities in place of those of its words; None: those of its words."""


@dataclass(frozen=True, slots=True, repr=False)
class Samples:
    """What is kept of a video in a space."""

    pts_s: np.ndarray
    """float64 [N], ascending."""
    vectors: np.ndarray
    """float32 [N, D], of length 1."""
    duration_s: float

    def __repr__(self) -> str:
        return f"Samples(vectors={self.vectors.shape}, duration_s={self.duration_s:g})"


def curves(vectors: np.ndarray, labels: LabelVectors, likelihood: Likelihood) -> np.ndarray:
    """float32 [N, D] -> float64 [N, L], probabilities by the words of labels, to `DIGITS`."""
    return np.round(tags.probabilities(vectors, labels, likelihood), DIGITS)


def found(
    video: Samples, labels: LabelVectors, likelihood: Likelihood, taught: Mapping[str, Taught], source: Source
) -> tuple[Tag, ...]:
    """Its tags, most probable first; no categories.

    Args:
        taught: label -> what was learnt for it, in place of its threshold or of its words.
        source: of what is found by words; heads are named besides.
    """
    if not len(video.pts_s) or not labels.labels:
        return ()
    frames = curves(video.vectors, labels, likelihood)
    meant = []
    for place, label in enumerate(labels.labels):
        learnt = taught.get(label.name)
        if learnt is not None and learnt.head is not None:
            frames[:, place] = np.round(learnt.head(video.vectors).astype(np.float64), DIGITS)
        meant.append(label if learnt is None else msgspec.structs.replace(label, threshold=learnt.threshold))
    tagged = tags.labelled(video.pts_s, frames, meant, duration_s=video.duration_s, source=source)
    return tuple(_sourced(tag, taught.get(tag.label), source) for tag in tagged)


def _sourced(tag: Tag, learnt: Taught | None, source: Source) -> Tag:
    if learnt is None:
        return tag
    how = "threshold" if learnt.head is None else "head"
    name = f"{source.name}, {how} {learnt.number}"
    return msgspec.structs.replace(tag, source=Source(name=name, version=source.version))
