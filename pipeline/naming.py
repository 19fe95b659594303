"""Whether two pictures show the same thing, by what their model calls it in either.

How near two pictures are and what they are called are two pieces of evidence, of which the second is told by names that
exclude one another (`models.base.Things`): with p and q, the probabilities of each thing in either picture, and the
chance that one of them shows none of these, of which nothing can be said,

    odds = CHANCE + (1 - CHANCE) x (one shows none + AGREEING x sum of p x q)

They are between 1 / 33 and 6, so names settle what is in doubt by the cosine, and take no match away whose cosine is
plain (for the bundled model, from about 0.95 on).
"""

import numpy as np

from models.base import Likelihood, Things
from pipeline import calibration

#: How much likelier the same name is in pictures of the same thing than in others that are as near to each other; those
#: are called the same often, too, or this would be the number of things.
AGREEING = 6.0

#: How often names say nothing: the odds are never less.
CHANCE = 0.03

#: What both are is told from this probability on.
_TOLD = 0.5


def named(vectors: np.ndarray, things: Things, likelihood: Likelihood) -> np.ndarray:
    """How probably pictures show each of the things, and none of them: float64 [N, K + 1].

    Args:
        vectors: float32 [N, D], of length 1.
        likelihood: of a model with a bias: without one nothing is ever none of them. Raises ValueError.
    """
    if likelihood.bias is None:
        raise ValueError("names are told by models with a bias only")
    logits = calibration.TEXT_SLOPE * calibration.evidence(vectors @ things.vectors.T, likelihood)
    logits = np.concatenate([logits, np.zeros((len(logits), 1))], axis=1)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)


def agreement(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Log odds that pictures show what one does, by their names alone: float64 [N]; 0 where nothing can be said.

    Args:
        one, others: float64 [K + 1] and [N, K + 1], see `named`.
    """
    silent = 1.0 - (1.0 - one[-1]) * (1.0 - others[:, -1])
    return np.log(CHANCE + (1.0 - CHANCE) * (silent + AGREEING * (others[:, :-1] @ one[:-1])))


def in_both(one: np.ndarray, others: np.ndarray, things: Things) -> list[str | None]:
    """What pictures show that one shows, too, [N]; None: nothing that has a name. Arguments as of `agreement`."""
    both = others[:, :-1] * one[:-1]
    best = both.argmax(1)
    return [things.names[at] if both[n, at] >= _TOLD else None for n, at in enumerate(best)]
