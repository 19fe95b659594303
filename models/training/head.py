"""Learns a head from examples: for each label a network of its own, checked on videos that it was not trained on.

    trained = train(examples, HeadOptions(), name="sports", encoder="bundled", space=model.info.space)
    heads.save("sports.safetensors", trained.layers, trained.card)

Strength of the regularisation, scale of the probabilities and threshold come from predictions for frames of videos
that were left out (folds by video). The figures in the card are a step further away still: what is said of a fold was
decided without it altogether. All of it is the same for the same examples and seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from models.base import Score
from models.head_card import HeadCard
from models.heads import Layer
from models.training.examples import OTHER, REJECTED, SHOWN, UNKNOWN, BadExamples, Examples
from models.training.fitting import (
    DEFAULT_STRENGTH,
    FITS,
    STRENGTHS,
    Fit,
    Network,
    logits,
    one_thread,
    platt,
    scaled,
    sigmoid,
    stacked,
)
from models.training.folds import MOST_FOLDS, grouped_folds
from models.training.scoring import at_threshold, average_precision, calibration_error, steady_threshold

PLAIN_THRESHOLD: Final = 0.5
"""Where cross-validation cannot choose one."""


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """How a head is learnt."""

    kind: Literal["linear", "mlp"] = "linear"
    signal: bool = False
    """Whether its labels say how good a moment is, instead of what is in it."""
    min_examples: int = 5
    """Accepted examples of a label below which nothing is learnt."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Trained:
    """A head that is not written yet, see `models.heads.save`."""

    layers: tuple[Layer, ...]
    card: HeadCard


def train(
    examples: Examples, options: HeadOptions, *, name: str, encoder: str, space: str, left_out: Sequence[str] = ()
) -> Trained:
    """Learn all labels of the examples.

    Args:
        name: of the head, for people.
        encoder: whose vectors these are.
        space: theirs.
        left_out: what could not be used, for the card.

    Raises:
        BadExamples: a label has too few accepted examples, or none of what is not it.
    """
    for place, label in enumerate(examples.labels):
        _require_examples(examples, place, label, options.min_examples)
    with one_thread():
        learnt = [_learn(examples, place, options) for place in range(len(examples.labels))]
    scores = tuple(
        Score(label, threshold=round(one.threshold, 4), signal=options.signal)
        for label, one in zip(examples.labels, learnt, strict=True)
    )
    metrics: dict[str, Any] = {
        "kind": options.kind,
        "seed": options.seed,
        "encoder": encoder,
        "space": space,
        "examples": len(np.unique(examples.example[examples.truth != UNKNOWN])),
        "videos": len(np.unique(examples.video)),
        "frames": len(examples.vectors),
        "labels": [dict(one.metrics) for one in learnt],
        "left_out": list(left_out),
        "not_tried_on": _not_tried_on(examples, learnt),
    }
    layers = stacked([one.network for one in learnt])
    dim = examples.vectors.shape[1]
    return Trained(layers, HeadCard(name=name, encoder=encoder, space=space, dim=dim, labels=scores, metrics=metrics))


@dataclass(frozen=True, slots=True)
class _Learnt:
    network: Network
    threshold: float
    metrics: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Checked:
    """What predictions for videos that were left out say."""

    strength: float
    slope: float
    offset: float
    threshold: float
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True, repr=False)
class _Side:
    """The frames of one label of which something is known."""

    vectors: np.ndarray
    truth: np.ndarray
    """bool [N]."""
    weights: np.ndarray
    """float64 [N]; those of an example add up to 1."""
    video: np.ndarray
    """int64 [N]."""
    counts: tuple[int, int]
    """Examples that show the label, and that do not."""

    def only(self, rows: np.ndarray) -> _Side:
        """Some of the frames; the counts stay."""
        return _Side(self.vectors[rows], self.truth[rows], self.weights[rows], self.video[rows], self.counts)

    @property
    def balanced(self) -> np.ndarray:
        """float64 [N], the weights with both sides equally heavy."""
        heavy = np.where(self.truth, self.weights[self.truth].sum(), self.weights[~self.truth].sum())
        return self.weights / heavy


def _learn(examples: Examples, place: int, options: HeadOptions) -> _Learnt:
    truth = examples.truth[:, place]
    known = truth != UNKNOWN
    shown, example, video = truth[known] == SHOWN, examples.example[known, place], examples.video[known]
    _, which, frames = np.unique(np.stack([example, shown]), axis=1, return_inverse=True, return_counts=True)
    counts = len(np.unique(example[shown])), len(np.unique(example[~shown]))
    side = _Side(examples.vectors[known].astype(np.float64), shown, 1.0 / frames[which.ravel()], video, counts)
    fit = FITS[options.kind]
    folds = grouped_folds(shown, video, options.seed)
    checked = None if folds is None else _check(side, folds, fit, STRENGTHS[options.kind], options.seed)
    strength = DEFAULT_STRENGTH if checked is None else checked.strength
    network = fit(side.vectors, shown.astype(np.float64), side.balanced, strength, options.seed)
    if checked is not None:
        network = scaled(network, checked.slope, checked.offset)
    metrics: dict[str, Any] = {
        "label": examples.labels[place],
        "accepted": _counted(example[shown], video[shown]),
        "rejected": _counted(examples.example[truth == REJECTED, place], examples.video[truth == REJECTED]),
        "other": _counted(examples.example[truth == OTHER, place], examples.video[truth == OTHER]),
        "folds": 0 if folds is None else int(folds.max()) + 1,
        "strength": strength,
        "threshold": PLAIN_THRESHOLD if checked is None else round(checked.threshold, 4),
        "out_of_fold": None if checked is None else dict(checked.figures),
    }
    return _Learnt(network, PLAIN_THRESHOLD if checked is None else checked.threshold, metrics)


def _check(side: _Side, folds: np.ndarray, fit: Fit, strengths: tuple[float, ...], seed: int) -> _Checked:
    """Choose by predictions for what was left out, and measure that: what is said of a fold was chosen without it. The
    predictions that were chosen by come from networks that saw it: nothing is fitted anew within the other folds."""
    scores = {strength: np.zeros(len(folds)) for strength in strengths}
    for fold in range(int(folds.max()) + 1):
        rest = side.only(folds != fold)
        for strength, column in scores.items():
            network = fit(rest.vectors, rest.truth.astype(np.float64), rest.balanced, strength, seed)
            column[folds == fold] = logits(network, side.vectors[folds == fold])
    p, said = np.zeros(len(folds)), np.zeros(len(folds), bool)
    for fold in range(int(folds.max()) + 1):
        rest, here = folds != fold, folds == fold
        strength, slope, offset, threshold = _choose(side.only(rest), {key: one[rest] for key, one in scores.items()})
        p[here] = sigmoid(slope * scores[strength][here] + offset)
        said[here] = p[here] >= threshold
    found = at_threshold(said, side.truth, side.weights)
    figures = {
        "precision": found.precision,
        "recall": found.recall,
        "f1": found.f1,
        "average_precision": average_precision(p, side.truth, side.weights),
        "calibration_error": calibration_error(p, side.truth, side.weights),
    }
    return _Checked(*_choose(side, scores), {key: round(value, 4) for key, value in figures.items()})


def _choose(side: _Side, scores: Mapping[float, np.ndarray]) -> tuple[float, float, float, float]:
    """(strength, slope, offset, threshold) by predictions of each strength, float64 [N]."""
    losses = {
        strength: float(side.balanced @ np.logaddexp(0.0, np.where(side.truth, -column, column)))
        for strength, column in scores.items()
    }
    strength = min(losses, key=losses.__getitem__)
    slope, offset = platt(scores[strength], side.truth, side.weights, side.counts)
    p = sigmoid(slope * scores[strength] + offset)
    return strength, slope, offset, steady_threshold(p, side.truth, side.weights, side.video)


def _require_examples(examples: Examples, place: int, label: str, least: int) -> None:
    truth = examples.truth[:, place]
    accepted = len(np.unique(examples.example[truth == SHOWN, place]))
    if accepted < least:
        raise BadExamples(
            f"{label}: {accepted} accepted examples with a frame, at least {least} are needed; accept more, let more "
            "frames be looked at (--fps), or ask for less (--min-examples)"
        )
    if not (truth < 0).any():
        raise BadExamples(
            f"{label}: nothing to tell it from: give rejected examples of it (accepted=false), or examples of another "
            "label; of folders, one more beside it, for example `_other` (a name that begins with _ is no label)"
        )


def _not_tried_on(examples: Examples, learnt: list[_Learnt]) -> list[str]:
    videos = len(np.unique(examples.video))
    out = [
        f"videos of other kinds than these {videos}: other sources, cameras, sizes and compressions",
        "stretches that nobody labelled: how often it speaks up there is not known",
    ]
    for one in learnt:
        label = one.metrics["label"]
        if one.metrics["out_of_fold"] is None:
            out.append(
                f"{label}: any video that it was not trained on, because fewer than 2 videos show it, or fewer than 2 "
                "do not; its threshold and its probabilities are not measured either"
            )
        elif one.metrics["folds"] < MOST_FOLDS:
            out.append(f"{label}: more than {one.metrics['folds']} groups of videos; its figures may be far off")
        if not one.metrics["rejected"]["examples"]:
            out.append(f"{label}: frames that look like it and are not: none was rejected, others were only of labels")
    return out


def _counted(example: np.ndarray, video: np.ndarray) -> dict[str, int]:
    return {"examples": len(np.unique(example)), "videos": len(np.unique(video)), "frames": len(example)}
