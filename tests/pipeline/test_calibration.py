"""Probabilities that mean the same for every query."""

import numpy as np
import pytest

from models.base import Likelihood
from pipeline import calibration, finding
from pipeline.finding import Part

UNBIASED = Likelihood(scale=20.0, bias=None)
BIASED = Likelihood(scale=20.0, bias=-4.0)


def test_what_is_said_right_has_no_calibration_error():
    rng = np.random.default_rng(1)
    said = rng.random(20_000)
    assert calibration.calibration_error(said, rng.random(20_000) < said) < 0.02
    assert calibration.calibration_error(said, rng.random(20_000) < said**4) > 0.2
    assert calibration.calibration_error(np.array([1.0]), np.array([True])) == 0.0


def test_the_share_of_a_library_that_a_text_fits_is_found():
    rng = np.random.default_rng(2)
    for true in (0.02, 0.1, 0.3):
        there = rng.random(4000) < true
        logits = np.where(there, rng.normal(4, 1, 4000), rng.normal(-6, 1, 4000))
        assert calibration.share(logits) == pytest.approx(there.mean(), rel=0.25)
    assert calibration.share(np.full(1000, -30.0)) == 1e-4
    assert calibration.share(np.zeros(0)) == calibration.PRIOR


def test_the_rarer_it_is_the_more_is_asked():
    logits = np.array([0.5])
    rare, common = (calibration.text_logits(logits, share)[0] for share in (0.001, 0.3))
    assert rare < common
    assert calibration.text_logits(logits, calibration.PRIOR)[0] == pytest.approx(1.0)


def test_without_a_bias_a_text_has_to_beat_phrases():
    cosines, bank = np.array([0.3, 0.3]), np.array([[0.1, 0.1], [0.1, 0.5]])
    near, far = calibration.evidence(cosines, UNBIASED, bank)
    assert near > 0 > far
    with pytest.raises(ValueError, match="bank of phrases"):
        calibration.evidence(cosines, UNBIASED)


def test_frames_of_one_video_say_nothing_of_unrelated_ones():
    rng = np.random.default_rng(3)
    takes = finding.unit(rng.standard_normal((200, 32)))
    vectors = np.repeat(takes, 5, axis=0)
    told = calibration.background(vectors, np.repeat(np.arange(200), 5))
    alone = (takes @ takes.T)[np.triu_indices(200, 1)]
    trust = 200 / 250
    assert told.mean == pytest.approx(trust * alone.mean() + (1 - trust) * 0.12, abs=0.01)
    # A library of one video leans on what is usual; and a picture is always itself.
    small = calibration.background(vectors[:5], np.zeros(5))
    assert (small.mean, small.deviation) == pytest.approx(calibration.UNRELATED)
    alike = calibration.background(np.tile(takes[:1], (500, 1)), np.arange(500))
    assert calibration.probability(calibration.picture_logits(np.array([1.0]), alike.mean, alike.deviation))[0] > 0.5


def test_parts_are_weighed_and_what_is_not_wanted_counts_against():
    found = np.array([[0.9, 0.9, 0.1], [0.9, 0.1, 0.9]])
    both = finding.together(found, (1.0, 1.0))
    assert both[0] == pytest.approx(0.9)
    assert both[1] == both[2] == pytest.approx(0.3)
    assert finding.together(found, (3.0, 1.0))[1] > finding.together(found, (1.0, 3.0))[1]
    without = finding.together(found, (1.0, -1.0))
    assert without[1] == pytest.approx(0.81)
    assert without[1] > without[0] > 0


def test_candidates_are_looked_for_near_each_thing_and_near_all():
    a, b = np.eye(2, dtype=np.float32)
    one = Part("text", 1.0, "a", a)
    assert finding.probes([one]).tolist() == [[1.0, 0.0]]
    both = finding.probes([one, Part("text", 1.0, "b", b)])
    assert both.shape == (3, 2)
    assert both[2] == pytest.approx([2**-0.5, 2**-0.5])
    away = finding.probes([one, Part("text", -1.0, "b", b)])
    assert away.shape == (2, 2)
    assert away[1][1] < 0


def test_words_add_to_looks():
    look, words = np.array([0.5, 0.5, 0.0]), np.array([0.0, 1.0, 0.5])
    told = finding.with_words(look, words)
    assert told == pytest.approx([0.5, 0.95, 0.225])


def test_bank_phrases_that_mean_the_same_are_no_rivals():
    bank = finding.unit(np.array([[1.0, 0.0], [0.0, 1.0], [0.96, 0.28]]))
    left = finding.rivals_of("a dog on grass", bank[0], ("a dog", "a car", "a hound"), bank)
    assert left.tolist() == [bank[1].tolist()]
