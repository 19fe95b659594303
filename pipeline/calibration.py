"""From similarities to probabilities that mean the same for every query.

A cosine means nothing by itself: what is near for one text is far for another, and models differ. So each query is held
against a background, a fixed random sample of the library that is searched:

- a *text* against what the model says of it by itself (its likelihood, or a bank of everyday phrases where it has
  none), and against how much of the library it fits at all: with few moments that match, more is asked of each
  (a label shift, by EM: Saerens, Latinne & Decaestecker, Neural Computation 14, 2002);
- a *picture* against how alike two moments of the library are that have nothing to do with each other, and by what its
  model calls the thing in either, see `pipeline.naming`.

Slopes and offsets were chosen by looking at a few settings on generated libraries; what comes of them is measured on a
library of another seed (`python -m benchmarks search_quality`).
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from models.base import Likelihood

Kind = Literal["text", "picture"]

#: Moments of the library that a query is held against.
SAMPLE: Final = 1000

#: log odds = TEXT_SLOPE x the model's own + SHIFT x the shift of the label's share.
TEXT_SLOPE: Final = 2.0
SHIFT: Final = 0.3

#: Share of matching frames that models' own probabilities are good for, see models/training/calibrate.py.
PRIOR: Final = 0.1

#: The least share that is believed: one that is found nowhere in the sample may still be somewhere.
_LEAST: Final = 1e-4
_ROUNDS: Final = 30

#: log odds = PICTURE_SLOPE x (standard deviations above what unrelated moments have - PICTURE_FROM).
PICTURE_SLOPE: Final = 6.0
PICTURE_FROM: Final = 3.25

#: The slope where names are told, too: part of what a cosine says is said by them.
NAMED_SLOPE: Final = 5.0

#: Mean and standard deviation of cosines of unrelated frames of the bundled model, and how many videos' worth that
#: counts beside what the library says: a small one cannot tell.
UNRELATED: Final = (0.12, 0.2)
_WORTH: Final = 50

#: However alike a library is, moments with this cosine may show the same: a picture is always itself.
_ALIKE: Final = 0.9

#: A probability is never surer than this, in log odds.
_SUREST: Final = 12.0


@dataclass(frozen=True, slots=True)
class Background:
    """What queries of a library are held against."""

    vectors: np.ndarray
    """float32 [M, D], of length 1: moments, drawn once."""
    mean: float
    """Of the cosines of two of them, as is `deviation`."""
    deviation: float

    def __repr__(self) -> str:
        return f"Background(vectors={self.vectors.shape}, mean={self.mean:.3f}, deviation={self.deviation:.3f})"


def background(vectors: np.ndarray, videos: np.ndarray) -> Background:
    """Of a random sample of a library.

    Args:
        vectors: float32 [M, D], of length 1.
        videos: [M], names or numbers of the videos that they are of. Two of one video are not unrelated.
    """
    _, numbers = np.unique(videos, return_inverse=True)
    apart = np.triu(numbers[:, None] != numbers[None, :], 1)
    told = float(numbers.max() + 1) if apart.any() else 0.0
    cosines = (vectors @ vectors.T)[apart] if told else np.zeros(1)
    trust = told / (told + _WORTH)
    mean = trust * float(cosines.mean()) + (1.0 - trust) * UNRELATED[0]
    deviation = trust * float(cosines.std()) + (1.0 - trust) * UNRELATED[1]
    most = max(_ALIKE - mean, 0.01) / PICTURE_FROM
    return Background(vectors, mean, float(np.clip(deviation, 1e-3, most)))


def evidence(cosines: np.ndarray, likelihood: Likelihood, bank: np.ndarray | None = None) -> np.ndarray:
    """The model's own log odds that a text is true of a frame: float [N] -> float64 [N].

    Args:
        bank: float [N, B], cosines of the same frames with everyday phrases; for models without a bias.
    """
    logits = likelihood.scale * np.asarray(cosines, np.float64)
    if likelihood.bias is not None:
        return logits + likelihood.bias
    if bank is None or not bank.shape[1]:
        raise ValueError("a model without a bias is compared with a bank of phrases")
    others = likelihood.scale * np.asarray(bank, np.float64)
    top = others.max(1)
    return logits - top - np.log(np.exp(others - top[:, None]).sum(1))


def share(logits: np.ndarray) -> float:
    """How much of the library a text is true of, by the model's own log odds of a sample, float [M]."""
    if not len(logits):
        return PRIOR
    found = PRIOR
    for _ in range(_ROUNDS):
        found = max(float(probability(logits + _odds(found) - _odds(PRIOR)).mean()), _LEAST)
    return min(found, 0.5)


def text_logits(logits: np.ndarray, matching: float) -> np.ndarray:
    """Calibrated log odds from the model's own, float64 [N]. `matching`: see `share`."""
    return TEXT_SLOPE * logits + SHIFT * (_odds(matching) - _odds(PRIOR))


def picture_logits(
    cosines: np.ndarray, mean: float, deviation: float, agreement: np.ndarray | None = None
) -> np.ndarray:
    """Calibrated log odds that two pictures show the same, float64 [N].

    Args:
        mean, deviation: see `Background`.
        agreement: float64 [N], log odds by names (`pipeline.naming`), of models that have them.
    """
    above = (np.asarray(cosines, np.float64) - mean) / deviation - PICTURE_FROM
    return PICTURE_SLOPE * above if agreement is None else NAMED_SLOPE * above + agreement


def probability(logits: np.ndarray) -> np.ndarray:
    """float64, in (0, 1)."""
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -_SUREST, _SUREST)))


def calibration_error(probabilities: np.ndarray, true: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error: how far what was said is from how often it was so, over equal bins.

    Args:
        probabilities: float [N], in [0, 1].
        true: bool [N].
    """
    places = np.minimum((np.asarray(probabilities) * bins).astype(int), bins - 1)
    gaps = (
        float((places == at).mean()) * abs(float(probabilities[places == at].mean()) - float(true[places == at].mean()))
        for at in np.unique(places)
    )
    return sum(gaps)


def _odds(share_: float) -> float:
    return float(np.log(share_) - np.log1p(-share_))
