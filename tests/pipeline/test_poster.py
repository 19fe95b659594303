"""Posters: where is looked, what is measured, and what is taken."""

import numpy as np
import pytest
from msgspec.structs import replace

from models import frame_columns
from models.frame_stats import FrameStats
from pipeline import poster
from pipeline.poster import Candidate, Measured
from tests.serving.conftest import sample_report

REPORT = sample_report.__wrapped__()
GOOD = Measured(sharpness=3.0, exposure=0.5, dark=0.0, bright=0.0, contrast=0.2, colourfulness=60.0)


def seen(**other) -> Measured:
    return Measured(**({name: getattr(GOOD, name) for name in GOOD.__slots__} | other))


def at(at_s: float, moment: float = 0.0) -> Candidate:
    return Candidate(at_s, at_s, at_s, moment)


def test_it_measures_what_models_measure():
    rng = np.random.default_rng(1)
    pictures = [
        rng.integers(0, 256, (90, 160, 3), np.uint8),
        np.linspace(0, 255, 160 * 90 * 3).reshape(90, 160, 3).astype(np.uint8),
        np.full((160, 90, 3), (200, 30, 5), np.uint8),
    ]
    for pixels in pictures:
        (row,) = FrameStats().run(pixels[None])
        ours = poster.measured(pixels)
        for name in ours.__slots__[:6]:
            theirs = row[frame_columns.COLUMNS.index(name)]
            assert getattr(ours, name) == pytest.approx(theirs, rel=1e-3, abs=1e-3), name


@pytest.mark.parametrize(
    ("worse", "word"),
    [
        ({"sharpness": 1.2}, "sharp"),
        ({"exposure": 0.1, "dark": 0.5}, "exposed"),
        ({"exposure": 0.9, "bright": 0.5}, "exposed"),
        ({"colourfulness": 0.0, "contrast": 0.04}, "colour"),
    ],
)
def test_the_better_picture_is_taken_and_said_why(worse, word):
    found = poster.choose([(at(1.0), seen(**worse)), (at(2.0), GOOD)])
    assert found.place == 1
    assert any(word in reason for reason in found.reasons)
    assert found.score == pytest.approx(sum(found.parts.values()))
    assert 0.0 < found.score <= 1.0


@pytest.mark.parametrize("blank", [{"dark": 0.95}, {"bright": 0.95}, {"contrast": 0.01}])
def test_a_blank_picture_is_taken_only_where_all_are(blank):
    nothing, poor = seen(**blank), seen(sharpness=0.5, exposure=0.2, colourfulness=0.0, contrast=0.05)
    assert poster.choose([(at(1.0, 1.0), nothing), (at(2.0), poor)]).place == 1
    alone = poster.choose([(at(1.0), nothing)])
    assert alone.place == 0
    assert "black, white or of one colour" in alone.reasons[0]


def test_of_equal_pictures_the_key_moment_then_the_earliest():
    assert poster.choose([(at(1.0), GOOD), (at(2.0, 0.8), GOOD)]).place == 1
    assert poster.choose([(at(1.0), GOOD), (at(2.0), GOOD)]).place == 0


def test_nothing_is_looked_at_in_a_transition():
    found = poster.candidates(60.0, REPORT)
    assert 3 <= len(found) <= poster.CANDIDATES
    assert [one.at_s for one in found] == sorted(one.at_s for one in found)
    for one in found:
        for number, shot in enumerate(REPORT.shots[1:], 1):
            away_s = min(abs(shot.start_s - one.low_s), abs(shot.start_s - one.high_s))
            assert away_s >= shot.transition_s / 2, (one, number)
            assert not one.low_s < shot.start_s < one.high_s


def test_the_best_moments_by_the_stored_curve_are_looked_at():
    curve = [0.2] * 240
    curve[4 * 33] = 1.0
    features = replace(REPORT.features, signals={"quality": tuple(curve)})
    found = poster.candidates(60.0, replace(REPORT, features=features))
    assert any(one.at_s == pytest.approx(33.125, abs=0.01) for one in found)
    segments = {round(one.thumbnail_s, 3) for one in REPORT.segments}
    assert len([one for one in found if one.moment > 0 and round(one.at_s, 3) in segments]) >= 3


def test_a_video_that_was_never_analysed_is_looked_at_all_along():
    found = poster.candidates(100.0)
    assert len(found) == poster.CANDIDATES
    assert found[0].low_s == 0.0
    assert found[-1].high_s == 100.0
