"""What is learnt of examples of a label: another threshold, or a head in place of its words; each only where it does
better than what there is on videos that it was not learnt from."""

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from models import heads
from models.heads import Layer
from models.training.examples import REJECTED, SHOWN, Examples
from models.training.folds import MOST_FOLDS, grouped_folds
from models.training.head import HeadOptions, Trained, train
from models.training.scoring import at_threshold, steady_threshold
from serving.tagging.learned import Figures

#: Examples of each kind from which a head is learnt.
HEAD_FROM: Final = 5

#: What the threshold that there is counts beside what examples say, in examples.
PRIOR: Final = 8.0

#: How much more freely a head moves along the label's words, for each unit of the model's own log odds. By trial on
#: scenes of other seeds than the benchmark's, see docs/decisions/0018.
WORDS: Final = 0.1

_LEAST: Final = 1e-4
"""A threshold is no nearer to 0 and 1 than this."""


@dataclass(frozen=True, slots=True, repr=False)
class Material:
    """Frames of examples of one label, N of them."""

    vectors: np.ndarray
    """float32 [N, D], of length 1."""
    p: np.ndarray
    """float64 [N], by the label's words."""
    truth: np.ndarray
    """bool [N]."""
    example: np.ndarray
    """int64 [N], which example a frame is of."""
    video: np.ndarray
    """int64 [N], which video."""
    words: np.ndarray
    """float32 [P, D], the label's prompts."""
    scale: float
    """What the model multiplies cosines by."""

    @property
    def weights(self) -> np.ndarray:
        """float64 [N]; those of an example add up to 1."""
        _, which, frames = np.unique(self.example, return_inverse=True, return_counts=True)
        return 1.0 / frames[which.ravel()]

    @property
    def counts(self) -> tuple[int, int]:
        """Examples that show the label, and that do not."""
        return len(np.unique(self.example[self.truth])), len(np.unique(self.example[~self.truth]))

    def only(self, rows: np.ndarray) -> "Material":
        """Some of the frames."""
        return replace(
            self,
            vectors=self.vectors[rows],
            p=self.p[rows],
            truth=self.truth[rows],
            example=self.example[rows],
            video=self.video[rows],
        )


@dataclass(frozen=True, slots=True)
class Learnt:
    """What is better than what there was."""

    kind: Literal["threshold", "head"]
    threshold: float
    head: bytes | None
    before: Figures
    """Of its words with the threshold that it has in its vocabulary, and `after`, of what was learnt, on videos that it
    was not learnt from."""
    after: Figures


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing is better."""

    why: str


def learn(material: Material, label: str, threshold: float, encoder: str, space: str) -> Learnt | Nothing:
    """The better of another threshold and a head, where one is better than the label's words with its threshold.

    Args:
        threshold: that the vocabulary gives it.
        encoder: whose vectors these are, and their space: for the head's card.
    """
    folds = folds_of(material)
    if folds is None:
        return Nothing("examples of two videos at least are needed, so that it can be tried on others")
    before = figures(material.p >= threshold, material)
    found = [Learnt("threshold", recalibrated(material, threshold), None, before, _moved(material, folds, threshold))]
    accepted, rejected = material.counts
    if min(accepted, rejected) >= HEAD_FROM and grouped_folds(material.truth, material.video, 0) is not None:
        found.append(_headed(material, label, encoder, space, before))
    best = max(found, key=lambda one: _goodness(one.after, material))
    if _goodness(best.after, material) <= _goodness(before, material):
        return Nothing("neither another threshold nor a head does better on videos that it was not learnt from")
    return best


def recalibrated(material: Material, threshold: float) -> float:
    """The threshold that is best for examples, drawn towards the one that there is, the more the fewer they are."""
    p, truth = material.p, material.truth
    if truth.any() and not truth.all():
        best = steady_threshold(p, truth, material.weights, material.video)
    elif truth.any():
        lowest = min(float(p[material.example == one].max()) for one in np.unique(material.example))
        best = min(threshold, 0.95 * lowest)
    else:
        best = max(threshold, (1.0 + float(p.max())) / 2.0) if p.max() >= threshold else threshold
    count = len(np.unique(material.example))
    share = count / (count + PRIOR)
    drawn = share * _logit(best) + (1.0 - share) * _logit(threshold)
    return round(float(1.0 / (1.0 + np.exp(-drawn))), 4)


def folds_of(material: Material) -> np.ndarray | None:
    """int64 [N], which fold each frame is in, all of a video in one; None of one video."""
    folds = grouped_folds(material.truth, material.video, 0)
    if folds is not None:
        return folds
    _, number = np.unique(material.video, return_inverse=True)
    count = int(number.max()) + 1 if len(number) else 0
    return None if count < 2 else number.ravel() % min(count, MOST_FOLDS)


def figures(said: np.ndarray, material: Material) -> Figures:
    """Of bool [N]."""
    weights = material.weights
    found = at_threshold(said, material.truth, weights)
    right = float(weights[said == material.truth].sum() / weights.sum())
    return Figures(
        precision=round(found.precision, 4),
        recall=round(found.recall, 4),
        f1=round(found.f1, 4),
        accuracy=round(right, 4),
    )


def _moved(material: Material, folds: np.ndarray, threshold: float) -> Figures:
    said = np.zeros(len(folds), bool)
    for fold in np.unique(folds):
        here = folds == fold
        said[here] = material.p[here] >= recalibrated(material.only(~here), threshold)
    return figures(said, material)


def _headed(material: Material, label: str, encoder: str, space: str, before: Figures) -> Learnt:
    made = _trained(material, label, encoder, space)
    card = made.card
    told = card.metrics["labels"][0]["out_of_fold"]
    after = Figures(
        precision=told["precision"], recall=told["recall"], f1=told["f1"], accuracy=_accuracy(told, material)
    )
    return Learnt("head", card.labels[0].threshold, heads.to_bytes(made.layers, card), before, after)


def _trained(material: Material, label: str, encoder: str, space: str) -> Trained:
    """A head whose regularisation is weaker along the label's prompts: where tens of examples tell little, it is what
    its words say. It reads vectors alone: the columns of the prompts are folded into its weights."""
    truth = np.where(material.truth, SHOWN, REJECTED).astype(np.int8)[:, None]
    along = WORDS * material.scale * material.words
    columns = np.concatenate([material.vectors, material.vectors @ along.T], 1)
    examples = Examples((label,), columns, truth, material.example[:, None], material.video)
    made = train(examples, HeadOptions(min_examples=HEAD_FROM), name=label, encoder=encoder, space=space)
    (layer,), dim = made.layers, material.vectors.shape[1]
    weight = layer.weight[:, :dim] + layer.weight[:, dim:] @ along
    return Trained((Layer(weight, layer.bias),), replace(made.card, dim=dim))


def _accuracy(told: dict[str, float], material: Material) -> float:
    """From precision and recall: of weights that are 1 an example."""
    accepted, rejected = material.counts
    right = told["recall"] * accepted
    wrong = right / told["precision"] - right if told["precision"] else 0.0
    return round((right + rejected - wrong) / (accepted + rejected), 4)


def _goodness(one: Figures, material: Material) -> float:
    """F1; of examples of one kind, where that tells nothing, how much was said right."""
    return one.f1 if material.truth.any() and not material.truth.all() else one.accuracy


def _logit(p: float) -> float:
    p = min(max(p, _LEAST), 1.0 - _LEAST)
    return float(np.log(p / (1.0 - p)))
