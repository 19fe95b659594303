"""Two videos laid alongside: films made of vectors, whose copies are known to the frame."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.aligning import align
from pipeline.tracks import Limits, Scale, Track, distinctness

SCALE = Scale(unrelated=0.5, same=0.9)
DIM = 48


def film(seed: int, length_s: float = 90.0):
    """A function time_s -> vectors: a new picture every other second, and a slow change in between."""
    rng = np.random.default_rng(seed)
    pictures = rng.standard_normal((int(length_s // 2) + 3, DIM))

    def at(times_s: np.ndarray) -> np.ndarray:
        place = np.clip(np.asarray(times_s) / 2.0, 0, len(pictures) - 2)
        number, share = place.astype(int), (place % 1)[:, None]
        return unit((1 - share) * pictures[number] + share * pictures[number + 1])

    return at


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)).astype(np.float32)


def track(shown, start_s: float, end_s: float, *, speed: float = 1.0, intro=None, intro_s: float = 0.0, noise=0.0):
    """`shown` from `start_s` to `end_s`, after an intro, a sample a second."""
    times_s = np.arange(0.0, intro_s + (end_s - start_s) / speed)
    vectors = shown(start_s + (times_s - intro_s) * speed)
    if intro is not None:
        vectors = np.where(times_s[:, None] < intro_s, intro(times_s), vectors)
    if noise:
        vectors = unit(vectors + np.random.default_rng(9).normal(0, noise / np.sqrt(DIM), vectors.shape))
    return Track(vectors, times_s)


def still(seed: int, count: int = 60) -> Track:
    return Track(
        np.repeat(unit(np.random.default_rng(seed).standard_normal((1, DIM))), count, 0), np.arange(count * 1.0)
    )


def test_a_video_aligns_with_itself_as_a_whole():
    own = track(film(1), 0, 60)
    (one,) = align(own, own, SCALE)
    assert (one.a_start_s, one.a_end_s, one.b_start_s, one.b_end_s) == pytest.approx((0, 60, 0, 60), abs=0.05)
    assert (one.speed, one.offset_s, one.score) == pytest.approx((1.0, 0.0, 1.0), abs=0.01)


@given(
    seed=st.integers(0, 1000),
    start_s=st.floats(0, 30),
    kept_s=st.floats(25, 60),
    intro_s=st.floats(5, 30),
    speed=st.floats(0.95, 1.05),
)
@settings(max_examples=40, deadline=None)
def test_an_excerpt_at_another_speed_after_an_intro_is_found_where_it_is(seed, start_s, kept_s, intro_s, speed):
    shown = film(seed)
    whole = track(shown, 0, 90)
    copy = track(shown, start_s, start_s + kept_s, speed=speed, intro=film(seed + 5000), intro_s=intro_s, noise=0.3)
    found = align(whole, copy, SCALE)
    assert found, "not found at all"
    one = found[0]
    for film_s, copy_s in ((one.a_start_s, one.b_start_s), (one.a_end_s, one.b_end_s)):
        assert abs(intro_s + (film_s - start_s) / speed - copy_s) < 1.0
    assert abs(one.a_start_s - start_s) < 2.5
    assert abs(one.a_end_s - min(start_s + kept_s, 90.0)) < 2.5
    assert abs(one.speed - speed) < 0.04


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_both_directions_tell_the_same(seed):
    shown = film(seed)
    a, b = track(shown, 0, 60), track(shown, 12.4, 50, speed=1.04)
    (there,), (back,) = align(a, b, SCALE), align(b, a, SCALE)
    assert back.a_start_s == pytest.approx(there.b_start_s, abs=1.5)
    assert back.b_end_s == pytest.approx(there.a_end_s, abs=1.5)
    assert back.speed == pytest.approx(1 / there.speed, abs=0.03)


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_nothing_aligns_between_unrelated_films_nor_between_noise(seed):
    assert align(track(film(seed), 0, 80), track(film(seed + 5000), 0, 80), SCALE) == ()
    noise = [Track(unit(np.random.default_rng([seed, n]).standard_normal((80, DIM))), np.arange(80.0)) for n in (0, 1)]
    assert align(*noise, SCALE) == ()


def test_still_pictures_are_no_evidence_however_long():
    assert align(still(3), still(3), SCALE) == ()
    assert align(still(3, 600), track(film(1), 0, 60), SCALE) == ()
    # One picture between two films: they have a moment in common, not a stretch.
    picture = still(3, 40).vectors
    a, b = (Track(np.concatenate([track(film(seed), 0, 30).vectors, picture]), np.arange(70.0)) for seed in (11, 12))
    assert align(a, b, SCALE) == ()


def test_black_frames_are_no_evidence_and_no_obstacle():
    black = np.zeros((20, DIM), np.float32)
    assert align(Track(black, np.arange(20.0)), Track(black, np.arange(20.0)), SCALE) == ()
    vectors = track(film(2), 0, 60).vectors.copy()
    vectors[25:30] = 0
    (one,) = align(Track(vectors, np.arange(60.0)), Track(vectors, np.arange(60.0)), SCALE)
    assert (one.a_start_s, one.a_end_s) == pytest.approx((0.0, 60.0), abs=0.05)


def test_stretches_in_another_order_are_found_each():
    shown = film(4)
    a = track(shown, 0, 80)
    vectors = np.concatenate(
        [track(shown, 50, 75).vectors, track(film(77), 0, 10).vectors, track(shown, 5, 30).vectors]
    )
    found = sorted(align(a, Track(vectors, np.arange(60.0)), SCALE), key=lambda one: one.a_start_s)
    starts = [(one.a_start_s, one.b_start_s) for one in found]
    np.testing.assert_allclose(starts, [(5, 35), (50, 0)], atol=1.5)


def test_irregular_and_denser_samples_change_nothing_but_precision():
    shown, rng = film(5), np.random.default_rng(5)
    a_s = np.sort(rng.uniform(0, 80, 100))
    b_s = np.sort(rng.uniform(0, 40, 90))
    (one,) = align(Track(shown(a_s), a_s), Track(shown(b_s + 20.0), b_s), SCALE)
    assert abs(one.offset_s + one.a_start_s / one.speed - one.b_start_s) < 1e-6
    assert abs(one.a_start_s - 20.0 - one.b_start_s) < 1.0
    assert one.a_end_s - one.a_start_s > 35.0


def test_half_precision_and_limits():
    shown = film(6)
    a, b = track(shown, 0, 60), track(shown, 10, 22)
    half = Track(a.vectors.astype(np.float16), a.pts_s)
    assert len(align(half, b, SCALE)) == 1
    assert align(a, b, SCALE, Limits(least_s=15.0)) == ()
    assert align(a, b, SCALE, Limits(least_moments=50.0)) == ()
    assert align(a, Track(b.vectors[:1], b.pts_s[:1]), SCALE) == ()


def test_a_still_picture_counts_once():
    rows = np.concatenate([still(1, 10).vectors, track(film(8), 0, 4).vectors, np.zeros((2, DIM), np.float32)])
    weights = distinctness(Track(rows, np.arange(len(rows) * 1.0)), SCALE)
    assert weights[:10].sum() == pytest.approx(1.0)
    assert np.all(weights[-2:] == 0.0)


def test_tracks_are_checked():
    with pytest.raises(ValueError, match="must be"):
        Track(np.zeros((3, 4), np.float32), np.arange(2.0))
    with pytest.raises(ValueError, match="ascend"):
        Track(np.zeros((2, 4), np.float32), np.array([1.0, 0.0]))
