"""Signals from arrays in which something is planted."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.frame_columns import COLUMNS, LAYOUT, LOOKS
from pipeline import signals
from pipeline.curves import binned, fill, grid, interpolate, normalise
from pipeline.frames import Loudness, Samples
from pipeline.packets import PacketIndex
from pipeline.signals import SIGNALS, measure
from pipeline.spec import DEFAULT_WEIGHTS
from tests.pipeline.indexes import CODEC

FPS = 10


def index_of(size, keyframe=None):
    """A packet a frame, in display order, 10 frames a second; a keyframe every 50 unless told."""
    count = len(size)
    keyframe = np.arange(count) % 50 == 0 if keyframe is None else keyframe
    no = np.zeros(count, bool)
    return PacketIndex(
        pts=np.arange(count), size=np.asarray(size, np.int32), keyframe=keyframe, entry=keyframe, disposable=no,
        shown=~no, packed=False, time_base=Fraction(1, FPS), origin=0, end=count, codec=CODEC,
    )  # fmt: skip


def calm(seconds, *, key=20_000):
    """Packet sizes of a calm video: float64 [frames]."""
    size = np.full(seconds * FPS, 400.0)
    size[::50] = key
    return size


def samples_of(seconds, vectors=None, **columns):
    """One sample a second; every frame alike where nothing else is said. Frames look like what they mean."""
    stats = np.zeros((seconds, len(COLUMNS)), np.float32)
    stats[:, LAYOUT] = 0.5
    for name, values in columns.items():
        stats[:, COLUMNS.index(name)] = values
    if vectors is None:
        vectors = np.tile(np.eye(8, dtype=np.float32)[0], (seconds, 1))
    stats[:, LOOKS.start : LOOKS.start + 8] = vectors
    return Samples(np.arange(seconds, dtype=np.float64), np.asarray(vectors, np.float32), stats)


def inside(curves, name, start_s, end_s):
    """Mean of a signal within, and outside of, a stretch."""
    within = (curves.pts_s >= start_s) & (curves.pts_s < end_s)
    return float(curves.values[name][within].mean()), float(curves.values[name][~within].mean())


def test_the_names_are_those_that_can_be_weighted():
    assert set(SIGNALS) == set(DEFAULT_WEIGHTS)


def test_what_a_video_lacks_is_absent():
    curves = measure(index_of(calm(20)), samples_of(20))
    assert set(curves.values) == {"motion", "novelty", "quality"}


def test_a_video_in_which_nothing_changes_is_neutral_everywhere():
    curves = measure(index_of(calm(20)), samples_of(20))
    for curve in curves.values.values():
        np.testing.assert_allclose(curve, 0.5)


def test_motion_is_where_predicted_frames_are_large():
    size = calm(60)
    size[200:250] *= 12
    size[400] = 30_000  # a keyframe, and no motion
    curves = measure(index_of(size), samples_of(60))
    within, outside = inside(curves, "motion", 20, 25)
    assert within > outside + 0.3
    assert inside(curves, "motion", 39, 41)[0] < within - 0.3


def test_one_huge_predicted_frame_is_a_cut_and_no_motion():
    size = calm(60)
    burst = size.copy()
    burst[200:230] *= 8
    burst[405] = 30_000
    curves = measure(index_of(burst), samples_of(60))
    assert inside(curves, "motion", 40, 41)[0] < inside(curves, "motion", 20, 23)[0] - 0.2


def test_intra_only_video_takes_its_motion_from_the_pictures():
    size = calm(60)
    samples = samples_of(60)
    tiles = samples.stats[:, LAYOUT]
    tiles[20:26] += np.random.default_rng(0).uniform(-0.3, 0.3, tiles[20:26].shape)
    curves = measure(index_of(size, np.ones(len(size), bool)), samples)
    within, outside = inside(curves, "motion", 20, 25)
    assert within > outside + 0.5


def test_a_cut_is_no_motion_in_the_pictures():
    samples = samples_of(60)
    samples.stats[30:, LAYOUT] = 0.9
    index = index_of(calm(60), np.ones(600, bool))
    assert inside(measure(index, samples), "motion", 29, 31)[0] > 0.55
    np.testing.assert_allclose(measure(index, samples, cuts_s=[29.5]).values["motion"], 0.5)


def test_novelty_is_where_the_scene_is_another():
    scenes = np.eye(8, dtype=np.float32)
    number = np.zeros(60, int)
    number[30:] = 1
    number[12:17] = 2
    curves = measure(index_of(calm(60)), samples_of(60, scenes[number]))
    within, outside = inside(curves, "novelty", 12, 17)
    assert within > outside + 0.4


def test_novelty_needs_no_model_that_knows_the_scene():
    scenes = np.eye(8, dtype=np.float32)
    number = np.zeros(60, int)
    number[12:17] = 2
    samples = samples_of(60, scenes[number])
    samples.embeddings[:] = scenes[0]
    within, outside = inside(measure(index_of(calm(60)), samples), "novelty", 12, 17)
    assert within > outside + 0.15


def test_a_scene_that_comes_back_is_less_novel_than_one_that_does_not():
    scenes = np.eye(8, dtype=np.float32)
    number = np.zeros(90, int)
    for start in (10, 30, 70):
        number[start : start + 5] = 1
    number[50:55] = 2
    curves = measure(index_of(calm(90)), samples_of(90, scenes[number]))
    assert inside(curves, "novelty", 50, 55)[0] > inside(curves, "novelty", 30, 35)[0] + 0.1


def test_quality_falls_for_blur_and_for_darkness():
    sharp = np.full(40, 3.0)
    sharp[10:15] = 1.0
    dark = np.zeros(40)
    dark[30:35] = 0.9
    curves = measure(index_of(calm(40)), samples_of(40, sharpness=sharp, dark=dark, exposure=0.5))
    usual = inside(curves, "quality", 20, 25)[0]
    assert inside(curves, "quality", 10, 14)[0] < usual - 0.2
    assert inside(curves, "quality", 30, 34)[0] < usual - 0.2


def test_relevance_is_where_a_frame_resembles_the_prompt():
    axes = np.eye(8, dtype=np.float32)
    vectors = np.tile(axes[0], (40, 1))
    vectors[20:25] = axes[1]
    curves = measure(index_of(calm(40)), samples_of(40, vectors), wanted=axes[1:3], unwanted=axes[4:5])
    within, outside = inside(curves, "relevance", 20, 24)
    assert within > 0.9
    assert outside < 0.2
    swapped = measure(index_of(calm(40)), samples_of(40, vectors), wanted=axes[3:4], unwanted=axes[1:2])
    assert inside(swapped, "relevance", 20, 24)[0] < 0.2


def test_sound_counts_where_it_is_loud_and_not_at_all_where_there_is_none():
    rms = np.full(600, 0.01, np.float32)
    rms[200:260] = 0.3
    onset = np.zeros(600, np.float32)
    loud = measure(index_of(calm(60)), samples_of(60), Loudness(0.1, rms, onset))
    within, outside = inside(loud, "audio", 20, 26)
    assert within > outside + 0.4
    silent = measure(index_of(calm(60)), samples_of(60), Loudness(0.1, rms * 0, onset))
    assert "audio" not in silent.values


@pytest.mark.parametrize("seconds", [1, 2, 3])
def test_the_shortest_videos(seconds):
    curves = measure(index_of(calm(seconds)), samples_of(seconds))
    for curve in curves.values.values():
        assert np.isfinite(curve).all()


@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([0.0, 1e-3, 1.0, 100.0]))
@settings(max_examples=60, deadline=None)
def test_every_signal_stays_between_0_and_1(seconds, seed, sound, scale):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(seconds, 8)) * min(scale, 1.0) + np.eye(8)[0]
    samples = samples_of(seconds, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    samples.stats[:] += scale * rng.uniform(size=samples.stats.shape).astype(np.float32)
    loudness = Loudness(0.1, rng.uniform(0, 1, seconds * 10).astype(np.float32), rng.uniform(0, 1, seconds * 10))
    cuts_s = np.sort(rng.uniform(0, seconds, rng.integers(0, 4)))
    index = index_of(rng.integers(10, 10_000, seconds * FPS), rng.random(seconds * FPS) < rng.random())
    curves = measure(index, samples, loudness if sound else None, cuts_s=cuts_s, wanted=samples.embeddings[:1])
    assert ("audio" in curves.values) == sound
    for curve in curves.values.values():
        assert curve.dtype == np.float32
        assert curve.shape == curves.pts_s.shape
        assert np.isfinite(curve).all()
        assert curve.min() >= 0
        assert curve.max() <= 1


def test_the_grid_fills_the_video_and_has_an_end():
    cells_s = grid(10.1)
    step = cells_s[1] - cells_s[0]
    assert step <= 0.25
    assert cells_s[0] == pytest.approx(step / 2)
    assert cells_s[-1] + step / 2 == pytest.approx(10.1)
    assert len(grid(0.01)) == 1
    assert len(grid(1e6)) == 20_000


def test_normalising():
    assert normalise(np.array([3.0, 3.0, 3.0]), 0.1).tolist() == [0.5, 0.5, 0.5]
    spread = normalise(np.linspace(0, 1, 101), 0.1)
    assert spread[0] == 0
    assert spread[-1] == 1
    assert np.ptp(normalise(np.linspace(0, 1, 101), 10.0)) == pytest.approx(0.1)
    assert normalise(np.array([np.nan, 1.0]), 1.0).tolist() == [0.5, 0.5]


def test_samples_on_the_grid_step_at_cuts_and_slope_elsewhere():
    times_s, values = np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.0, 1.0])
    at = np.array([1.25, 1.5, 1.75])
    np.testing.assert_allclose(interpolate(values, times_s, at, np.zeros(0)), [0.25, 0.5, 0.75])
    np.testing.assert_allclose(interpolate(values, times_s, at, np.array([1.6])), [0.0, 0.0, 1.0])
    np.testing.assert_allclose(interpolate(values[:1], times_s[:1], at, np.array([1.6])), [0.0, 0.0, 0.0])


def test_small_helpers():
    np.testing.assert_allclose(fill(np.array([np.nan, 1.0, np.nan, 3.0, np.nan])), [1, 1, 2, 3, 3])
    np.testing.assert_allclose(fill(np.array([np.nan])), [0])
    np.testing.assert_allclose(binned(np.arange(10.0), 0.1, np.array([0.5]), 0.4), [4.5])
    assert signals.resemblance(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)).tolist() == [0.5, 0.5]
