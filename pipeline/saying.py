"""What two models that are compared can both say, and what each says of a frame."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models.base import ModelInfo
from pipeline import tags, vocabulary, wording
from pipeline.record import Record
from pipeline.report import Notice
from pipeline.spec import Label
from pipeline.toolkit import TextTower

MOST_SAID = 5
"""Labels of one frame that are told of a model."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of two models that are compared."""

    key: str
    """Its name in the engine."""
    info: ModelInfo
    encoder: TextTower | None = None
    """Its text side; None of a model that has none."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """What a model says of frames, in labels that the other one has, too."""

    labels: tuple[Label, ...]
    judge: Callable[[np.ndarray], np.ndarray]
    """float32 [N, D], its rows for N frames -> float64 [N, L], the probability of each label in each."""

    @property
    def thresholds(self) -> np.ndarray:
        """float64 [L], from which on a label holds in a frame."""
        return np.array([label.threshold for label in self.labels], np.float64)


class Said(Record, frozen=True, kw_only=True):
    """A label, as a model sees it in one frame."""

    label: str
    probability: float
    holds: bool
    """Whether the probability reaches the label's threshold."""


def said(probabilities: np.ndarray, labels: Sequence[Label]) -> tuple[Said, ...]:
    """What holds in a frame, most probable first; where nothing does, what comes nearest to it. float [L]."""
    order = np.argsort(-probabilities, kind="stable")
    every = [
        Said(
            label=labels[place].name,
            probability=round(float(probabilities[place]), 4),
            holds=bool(probabilities[place] >= labels[place].threshold),
        )
        for place in order
    ]
    return tuple([one for one in every if one.holds][:MOST_SAID] or every[:1])


def speakers(
    a: Side, b: Side, asked: Sequence[Label] | None = None
) -> tuple[tuple[Speaker, Speaker] | None, tuple[Notice, ...]]:
    """Both models with the same labels, each by what it has itself: an encoder any, by its text tower; a model of
    scores its own.

    Args:
        asked: what to compare them by; None: what a model of scores knows, or for two encoders the vocabulary that
            reports have by default, the small one where either knows only that.

    Returns:
        The two, or None where they have no label in common; and what the caller should know.
    """
    own = [_own(side) for side in (a, b)]
    if any(labels is None and side.encoder is None for labels, side in zip(own, (a, b), strict=True)):
        return None, ()
    if asked is None:
        known = next((labels for labels in own if labels is not None), None)
        # To an encoder they are words; from which probability on they hold is the other one's own matter.
        words = None if known is None else tuple(Label(name=one.name, parent=one.parent) for one in known.values())
        asked = _usual(a, b) if words is None else words
    names = [label.name for label in asked if all(labels is None or label.name in labels for labels in own)]
    notices = list(_missing(asked, names))
    if not names:
        return None, tuple(notices)
    wanted = {label.name: label for label in asked}
    chosen = [tuple(wanted[name] if labels is None else labels[name] for name in names) for labels in own]
    both = [_speaker(side, labels) for side, labels in zip((a, b), chosen, strict=True)]
    for side in (a, b):
        if side.encoder is not None:
            notices += wording.unknown_words([wanted[name] for name in names], side.encoder)
    return (both[0], both[1]), tuple(notices)


def _own(side: Side) -> dict[str, Label] | None:
    """Labels of a model of scores; None of others."""
    if side.info.kind != "scores":
        return None
    return {
        score.label: Label(name=score.label, threshold=score.threshold, parent=score.parent)
        for score in side.info.scores
        if not score.signal
    }


def _usual(a: Side, b: Side) -> tuple[Label, ...]:
    small = any(side.encoder is not None and side.encoder.known_words is not None for side in (a, b))
    return vocabulary.read("bundled" if small else "general")


def _missing(asked: Sequence[Label], names: Sequence[str]) -> tuple[Notice, ...]:
    left_out = [label.name for label in asked if label.name not in names]
    if not left_out:
        return ()
    shown = ", ".join(left_out[:10]) + (f" and {len(left_out) - 10} more" if len(left_out) > 10 else "")
    return (Notice(code="label_left_out", message=f"only one of the two models has these labels: {shown}"),)


def _speaker(side: Side, labels: tuple[Label, ...]) -> Speaker:
    if side.encoder is None:
        places = [[score.label for score in side.info.scores].index(label.name) for label in labels]
        return Speaker(labels, lambda rows: rows[:, places].astype(np.float64))
    likelihood = side.encoder.likelihood
    vectors = tags.embed(labels, side.encoder, likelihood)
    return Speaker(labels, lambda rows: tags.probabilities(rows, vectors, likelihood))
