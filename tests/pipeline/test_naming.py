"""What two pictures are called beside how near they are."""

import math

import numpy as np
import pytest

from models.base import Likelihood, Things
from pipeline import calibration, finding, naming
from pipeline.finding import Held, Part

BIASED = Likelihood(scale=20.0, bias=-8.0)
THINGS = Things(("a red circle", "a red ring", "a blue circle"), np.eye(5, dtype=np.float32)[:3])
CIRCLE, RING = np.eye(5, dtype=np.float32)[:2]
NOTHING = np.eye(5, dtype=np.float32)[4]

MEAN, DEVIATION = 0.12, 0.2


def _agreement(one: np.ndarray, *others: np.ndarray) -> np.ndarray:
    rows = naming.named(np.stack([one, *others]), THINGS, BIASED)
    assert rows.sum(1) == pytest.approx(1.0)
    return naming.agreement(rows[0], rows[1:])


def _probabilities(one: np.ndarray, *others: np.ndarray) -> list[float]:
    part = Part("picture", 1.0, "the picture", one, things=THINGS)
    return finding.looks(Held(part, MEAN, DEVIATION), np.stack(others), BIASED).probabilities.tolist()


def test_the_same_name_speaks_for_a_match_and_another_against_it():
    same, other = _agreement(CIRCLE, CIRCLE, RING)
    assert same == pytest.approx(math.log(naming.AGREEING), abs=0.05)
    assert other == pytest.approx(math.log(naming.CHANCE), abs=0.05)


def test_what_has_no_name_is_judged_by_its_cosine_alone():
    assert _agreement(NOTHING, CIRCLE, NOTHING) == pytest.approx(0.0, abs=1e-6)
    assert _agreement(CIRCLE, NOTHING) == pytest.approx(0.0, abs=1e-6)


def test_a_picture_always_shows_what_it_shows():
    rng = np.random.default_rng(4)
    for one in finding.unit(rng.standard_normal((200, 5))):
        assert _probabilities(one, one)[0] > 0.7
    # Also one that may be either of two.
    assert _probabilities(finding.unit(CIRCLE + RING), finding.unit(CIRCLE + RING))[0] > 0.7


def test_names_take_no_match_away_whose_cosine_is_plain():
    worst = np.array([math.log(naming.CHANCE)])
    plain, doubtful = (
        calibration.probability(calibration.picture_logits(np.array([cosine]), MEAN, DEVIATION, worst))[0]
        for cosine in (0.95, 0.85)
    )
    assert plain > 0.7 > doubtful
    best = np.array([math.log(naming.AGREEING)])
    assert calibration.probability(calibration.picture_logits(np.array([0.7]), MEAN, DEVIATION, best))[0] < 0.7


def test_what_both_show_is_told():
    part = Part("picture", 1.0, "the picture", CIRCLE, things=THINGS)
    found = finding.looks(Held(part, MEAN, DEVIATION), np.stack([CIRCLE, RING, NOTHING]), BIASED)
    assert found.both == ("a red circle", None, None)
    without = finding.looks(Held(Part("picture", 1.0, "", CIRCLE), MEAN, DEVIATION), np.stack([CIRCLE, RING]), BIASED)
    assert without.both == (None, None)


def test_models_without_a_bias_name_nothing():
    with pytest.raises(ValueError, match="bias"):
        naming.named(CIRCLE[None], THINGS, Likelihood(scale=20.0, bias=None))
