"""From what was looked for to scores with reasons: pure functions over candidates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from models.base import Likelihood, Things
from pipeline import calibration, naming, tags
from pipeline.calibration import Background, Kind
from pipeline.spec import Label

#: What a text that has all words of the query is worth, and how quickly it is worth less with fewer of them.
WORDS_WORTH: Final = 0.9
WORDS_POWER: Final = 2.0

#: How much what is not wanted moves the vector by which candidates are looked for.
_AWAY: Final = 0.5


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that is looked for, in a space."""

    kind: Kind
    weight: float
    """Below 0: what is not wanted."""
    told: str
    """What it is, for a reason: the text, `the picture`, ..."""
    vector: np.ndarray
    """float32 [D], of length 1."""
    rivals: np.ndarray | None = None
    """float32 [B, D], everyday phrases that mean something else; for texts in spaces of models without a bias."""
    things: Things | None = None
    """What is told apart in pictures; in spaces of models that have such a list."""

    def __repr__(self) -> str:
        return f"Part({self.kind}, {self.weight:+g}, {self.told!r})"


@dataclass(frozen=True, slots=True)
class Looks:
    """How N candidates look beside a part."""

    probabilities: np.ndarray
    """float64 [N]: how probably each is what the part says."""
    both: tuple[str | None, ...]
    """[N]: of a picture, what both show by name."""


@dataclass(frozen=True, slots=True)
class Held:
    """A part held against a library: what its scores are calibrated by."""

    part: Part
    first: float
    """Of a text, the share of the library that it fits; of a picture, the mean of unrelated cosines."""
    second: float
    """Of a picture, their standard deviation."""


def rivals_of(text: str, vector: np.ndarray, phrases: Sequence[str], bank: np.ndarray) -> np.ndarray:
    """Those rows of a bank (float32 [B, D], of `phrases`) that do not mean what a text does."""
    label = Label(name=text[:200])
    return bank[tags.rivals((label,), vector[None], np.zeros(1, np.int64), phrases, bank)[0]]


def probes(parts: Sequence[Part]) -> np.ndarray:
    """float32 [P, D]: the vectors that candidates lie near to. One for each thing that is wanted, and where there are
    several, or something is not wanted, one for all of them together."""
    wanted = [part.vector for part in parts if part.weight > 0]
    if len(parts) == 1:
        return np.stack(wanted)
    total = sum(part.weight * (1.0 if part.weight > 0 else _AWAY) * part.vector for part in parts)
    return np.stack([*wanted, unit(np.asarray(total))])


def hold(part: Part, library: Background, likelihood: Likelihood) -> Held:
    """What the part's scores are calibrated by in this library."""
    if part.kind == "picture":
        return Held(part, library.mean, library.deviation)
    return Held(part, calibration.share(_evidence(part, library.vectors, likelihood)), 0.0)


def may_be_held(part: Part, first: float, second: float) -> bool:
    """Whether `hold` may have told this of a part: see `Held`."""
    return second > 0 if part.kind == "picture" else 0 < first < 1


def looks(held: Held, vectors: np.ndarray, likelihood: Likelihood) -> Looks:
    """How float32 [N, D] look beside the part."""
    part = held.part
    both: Sequence[str | None] = (None,) * len(vectors)
    if part.kind == "text":
        logits = calibration.text_logits(_evidence(part, vectors, likelihood), held.first)
    else:
        agreement = None
        if part.things is not None:
            one = naming.named(part.vector[None], part.things, likelihood)[0]
            others = naming.named(vectors, part.things, likelihood)
            agreement, both = naming.agreement(one, others), naming.in_both(one, others, part.things)
        logits = calibration.picture_logits(vectors @ part.vector, held.first, held.second, agreement)
    return Looks(calibration.probability(logits), tuple(both))


def together(found: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """float64 [K, N], of K parts -> [N], of all that is wanted and nothing that is not: the geometric mean of what is
    wanted, by weight, times the chance that it is none of what is not."""
    logs = np.zeros(found.shape[1])
    wanted = sum(weight for weight in weights if weight > 0)
    for row, weight in zip(found, weights, strict=True):
        logs += weight / wanted * np.log(row) if weight > 0 else -weight * np.log1p(-row)
    return np.exp(logs)


def with_words(look: np.ndarray, words: np.ndarray) -> np.ndarray:
    """float64 [N]: by its look or by what is said of it: the chance that not both are wrong.

    Args:
        words: float [N], share of the query's words that something says of it, by their rarity.
    """
    return 1.0 - (1.0 - look) * (1.0 - WORDS_WORTH * words**WORDS_POWER)


def unit(vectors: np.ndarray) -> np.ndarray:
    """float [..., D] -> float32 of length 1; what has no length keeps none."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(length, 1e-12)).astype(np.float32)


def _evidence(part: Part, vectors: np.ndarray, likelihood: Likelihood) -> np.ndarray:
    bank = None if part.rivals is None else vectors @ part.rivals.T
    return calibration.evidence(vectors @ part.vector, likelihood, bank)
