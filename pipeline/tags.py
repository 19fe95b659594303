"""Tags: which labels hold in a video, and when. Zero-shot, and calibrated so that an absent label stays absent.

Ranking labels by cosine always has a winner, present or not. Instead a probability is asked for each label alone:
models with a bias give it themselves; for the others the label has to beat a bank of everyday phrases.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from models.base import Likelihood, TextModel
from pipeline import vocabulary
from pipeline.hierarchy import ancestors
from pipeline.report import Source, Tag, TagRange
from pipeline.spec import Label

SMOOTH_S = 3.0
"""A label must hold in most of this time: at 1 frame/s the median of 3 samples, so one odd frame tags nothing."""

STAY = 0.7
"""A range that began at a label's threshold goes on down to this share of it, so that it does not fall to pieces."""

SYNONYM = 0.9
"""Cosine between two texts from which they name the same thing. CLIP's text towers put unrelated phrases of one
template at 0.6-0.85 and rewordings above it; a phrase too many left out of the bank costs less than one too few."""

_LITTLE_WORDS = frozenset(
    "a an the of in on at to with and or some is are there this photo picture image video frame drawing".split()  # noqa: SIM905
)
"""Articles, prepositions and the usual templates: sharing them means nothing."""


@dataclass(frozen=True, slots=True)
class LabelVectors:
    """Labels in the space of a model."""

    labels: tuple[Label, ...]
    vectors: np.ndarray
    """float32 [P, D], L2-normalised, one row a prompt."""
    owner: np.ndarray
    """int64 [P], which label a prompt belongs to, ascending; every label has one at least."""
    bank: np.ndarray
    """float32 [B, D], the background phrases; empty for models that need none."""
    rivals: np.ndarray
    """bool [L, B], which of them a label competes with: those that do not mean the same."""

    def __post_init__(self) -> None:
        if len(self.vectors) != len(self.owner) or self.rivals.shape != (len(self.labels), len(self.bank)):
            raise ValueError(f"{self!r}: shapes disagree")

    def __repr__(self) -> str:
        return f"LabelVectors(labels={len(self.labels)}, vectors={self.vectors.shape}, bank={self.bank.shape})"


def embed(labels: Sequence[Label], model: TextModel, likelihood: Likelihood) -> LabelVectors:
    """Put labels, and the bank if this model needs one, through a text tower."""
    known: dict[str, np.ndarray] = {}
    for some in texts(labels, likelihood):
        known |= zip(some, model.embed_text(list(some)), strict=True) if some else ()
    return embedded(labels, known, model.info.dim, likelihood)


def texts(labels: Sequence[Label], likelihood: Likelihood) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a text tower is asked for labels: their phrases, and the bank, where this model needs one."""
    prompts = tuple(phrase for label in labels for phrase in vocabulary.phrases(label))
    bank = background() if likelihood.bias is None else ()
    return prompts, tuple(f"a photo of {phrase}" for phrase in bank)


def embedded(
    labels: Sequence[Label], known: Mapping[str, np.ndarray], dim: int, likelihood: Likelihood
) -> LabelVectors:
    """As `embed`, where the vectors of all `texts` are known: text -> float32 [D]."""
    prompts, banked = texts(labels, likelihood)
    owner = np.repeat(np.arange(len(labels)), [len(vocabulary.phrases(label)) for label in labels])
    nothing = np.zeros((0, dim), np.float32)
    vectors = np.stack([known[one] for one in prompts]) if prompts else nothing
    bank = np.stack([known[one] for one in banked]) if banked else nothing
    phrases = background() if banked else ()
    return LabelVectors(tuple(labels), vectors, owner, bank, rivals(labels, vectors, owner, phrases, bank))


@cache
def background() -> tuple[str, ...]:
    """The bank of everyday phrases, from `configs/vocabularies/background.txt`."""
    lines = (vocabulary.FOLDER / "background.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def rivals(
    labels: Sequence[Label], vectors: np.ndarray, owner: np.ndarray, phrases: Sequence[str], bank: np.ndarray
) -> np.ndarray:
    """bool [L, B]: bank phrases that say neither more nor less than a label in the same words ("a dog" against "dog
    on a beach"), and lie no nearer than `SYNONYM` to its prompts; all of them, where none is left."""
    near = vectors @ bank.T >= SYNONYM
    banked = [_words(phrase) for phrase in phrases]
    out = np.ones((len(labels), len(phrases)), bool)
    for number, label in enumerate(labels):
        own = [_words(text) for text in (label.name, *label.prompts)]
        shared = [any(words and theirs and (words <= theirs or theirs <= words) for words in own) for theirs in banked]
        left = ~(np.array(shared, bool) | near[owner == number].any(0))
        # What means everything competes with everything: it holds nowhere for sure, and its neighbours are not lost.
        out[number] = left if left.any() else True
    return out


def _words(text: str) -> frozenset[str]:
    """Words that carry meaning, without a plural's s."""
    words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    return frozenset(word.removesuffix("s") for word in words if word not in _LITTLE_WORDS) or frozenset(words)


# --- probability of a label in a frame ------------------------------------------------------------------------------


def probabilities(embeddings: np.ndarray, labels: LabelVectors, likelihood: Likelihood) -> np.ndarray:
    """float32 [N, D] -> float64 [N, L], each in [0, 1] and independent of the other labels."""
    rule = RULES["softmax" if likelihood.bias is None else "sigmoid"]
    return rule(embeddings.astype(np.float64), labels, likelihood)


def absolute(embeddings: np.ndarray, labels: LabelVectors, likelihood: Likelihood) -> np.ndarray:
    """sigmoid(scale x cosine + bias), the best of a label's prompts (SigLIP, arXiv:2303.15343)."""
    logits = likelihood.scale * _best(embeddings @ labels.vectors.T, labels) + (likelihood.bias or 0.0)
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -60.0, 60.0)))


def against_bank(embeddings: np.ndarray, labels: LabelVectors, likelihood: Likelihood) -> np.ndarray:
    """Softmax of a label's best prompt over itself and its rivals in the bank (CLIP's zero-shot, arXiv:2103.00020)."""
    logits = likelihood.scale * _best(embeddings @ labels.vectors.T, labels)
    bank = likelihood.scale * (embeddings @ labels.bank.T)
    out = np.empty_like(logits)
    for number, rival in enumerate(labels.rivals):
        if not rival.any():
            raise ValueError(f"no background phrase is left to compare {labels.labels[number].name!r} with")
        top = bank[:, rival].max(1)
        against = top + np.log(np.exp(bank[:, rival] - top[:, None]).sum(1))
        out[:, number] = 1.0 / (1.0 + np.exp(np.clip(against - logits[:, number], -60.0, 60.0)))
    return out


RULES: dict[str, Callable[[np.ndarray, LabelVectors, Likelihood], np.ndarray]] = {
    "sigmoid": absolute,
    "softmax": against_bank,
}


def _best(cosines: np.ndarray, labels: LabelVectors) -> np.ndarray:
    """[N, P] -> [N, L], the best prompt of each label."""
    if not labels.labels:
        return np.zeros((len(cosines), 0))
    return np.maximum.reduceat(cosines, np.searchsorted(labels.owner, np.arange(len(labels.labels))), axis=1)


# --- from probabilities to ranges -----------------------------------------------------------------------------------


def find(
    pts_s: np.ndarray,
    embeddings: np.ndarray,
    labels: LabelVectors,
    likelihood: Likelihood,
    *,
    duration_s: float,
    source: Source,
) -> tuple[Tag, ...]:
    """Tags and categories of a video, most probable first, tags before categories.

    Args:
        pts_s: float64 [N], times of the embeddings, ascending.
        embeddings: float32 [N, D], L2-normalised, in the space of `labels`.
        source: the model's name and space.
    """
    if not len(pts_s) or not labels.labels:
        return ()
    frames = probabilities(embeddings, labels, likelihood)
    return of_probabilities(pts_s, frames, labels.labels, duration_s=duration_s, source=source)


def of_probabilities(
    pts_s: np.ndarray, frames: np.ndarray, labels: Sequence[Label], *, duration_s: float, source: Source
) -> tuple[Tag, ...]:
    """As `find`, where the probability of each label in each frame is known: float [N, L], each in [0, 1]."""
    found = labelled(pts_s, frames, labels, duration_s=duration_s, source=source)
    parents = {label.name: label.parent for label in labels}
    return (*found, *categories(found, parents, duration_s=duration_s, source=source))


def labelled(
    pts_s: np.ndarray, frames: np.ndarray, labels: Sequence[Label], *, duration_s: float, source: Source
) -> tuple[Tag, ...]:
    """As `of_probabilities`, without categories."""
    if not len(pts_s) or not labels:
        return ()
    frames = smooth(frames, pts_s)
    starts_s, ends_s = holding(pts_s, duration_s)
    tags = []
    peaks = frames.max(0)
    for label, curve, peak in zip(labels, frames.T, peaks, strict=True):
        ranges = ranges_of(curve, label.threshold, starts_s, ends_s) if peak >= label.threshold else ()
        if ranges:
            tags.append(tag_of("tag", label.name, label.parent, ranges, duration_s, source))
    return ordered(tags)


def smooth(curves: np.ndarray, pts_s: np.ndarray) -> np.ndarray:
    """Running median over about `SMOOTH_S`: float64 [N, L] -> [N, L]; samples further apart are left alone."""
    if len(pts_s) < 3:
        return curves
    width = int(SMOOTH_S / max(float(np.median(np.diff(pts_s))), 1e-3) + 0.5)
    width = min(width - (width + 1) % 2, len(pts_s) - (len(pts_s) + 1) % 2)
    if width < 3:
        return curves
    padded = np.pad(curves, ((width // 2, width // 2), (0, 0)), mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, width, axis=0), axis=-1)


def holding(pts_s: np.ndarray, duration_s: float) -> tuple[np.ndarray, np.ndarray]:
    """From when to when a sample speaks for the video, float64 [N] each, seconds: half-way to its neighbours.

    Where samples lie further apart than usual, a frame stayed on screen: it speaks until just before the next one.
    """
    gaps = np.diff(pts_s)
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    borders = np.maximum((pts_s[1:] + pts_s[:-1]) / 2.0, pts_s[1:] - usual / 2.0)
    return np.append(0.0, borders), np.append(borders, max(duration_s, float(pts_s[-1])))


def ranges_of(curve: np.ndarray, threshold: float, starts_s: np.ndarray, ends_s: np.ndarray) -> tuple[TagRange, ...]:
    """Stretches of samples that stay above `STAY` x threshold and reach it somewhere (hysteresis)."""
    above = curve >= STAY * threshold
    edges = np.flatnonzero(np.diff(np.concatenate([[False], above, [False]]).astype(np.int8)))
    found = []
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        best = float(curve[first:last].max())
        if best >= threshold:
            start_s, end_s = float(starts_s[first]), float(ends_s[last - 1])
            found.append(TagRange(start_s=round(start_s, 3), end_s=round(end_s, 3), score=best))
    return tuple(found)


def tag_of(
    kind: Literal["tag", "category"],
    label: str,
    parent: str | None,
    ranges: tuple[TagRange, ...],
    duration_s: float,
    source: Source,
) -> Tag:
    """A tag that holds in these ranges, one at least, in order."""
    held_s = sum(span.end_s - span.start_s for span in ranges)
    return Tag(
        kind=kind,
        label=label,
        parent=parent,
        score=max(span.score for span in ranges),
        coverage=min(1.0, held_s / duration_s) if duration_s > 0 else 1.0,
        start_s=ranges[0].start_s,
        end_s=ranges[-1].end_s,
        ranges=ranges,
        source=source,
    )


def categories(
    tags: Sequence[Tag], parents: Mapping[str, str | None], *, duration_s: float, source: Source
) -> tuple[Tag, ...]:
    """One category per name that has labels below it, holding wherever one of them does, however far below; and where
    it is a label itself, wherever that does."""
    spans: dict[str, list[TagRange]] = {}
    for tag in tags:
        for name in ancestors(tag.label, parents):
            spans.setdefault(name, []).extend(tag.ranges)
    own = {tag.label: tag.ranges for tag in tags}
    return ordered(
        [
            tag_of("category", name, parents.get(name), union([*below, *own.get(name, ())]), duration_s, source)
            for name, below in spans.items()
        ]
    )


def union(spans: Sequence[TagRange]) -> tuple[TagRange, ...]:
    """Overlapping and touching ranges as one each, with their best score."""
    merged: list[TagRange] = []
    for span in sorted(spans, key=lambda one: one.start_s):
        if merged and span.start_s <= merged[-1].end_s:
            last = merged.pop()
            span = TagRange(start_s=last.start_s, end_s=max(last.end_s, span.end_s), score=max(last.score, span.score))
        merged.append(span)
    return tuple(merged)


def ordered(tags: Sequence[Tag]) -> tuple[Tag, ...]:
    """Most probable first."""
    return tuple(sorted(tags, key=lambda tag: (-tag.score, -tag.coverage, tag.label)))
