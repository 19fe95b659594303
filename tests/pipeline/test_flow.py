"""Speeds of pictures that are known because we move them."""

import numpy as np
import pytest

from pipeline import signals
from pipeline.flow import MAX_GAP_S, Flow, measure
from tests.pipeline.test_signals import calm, index_of, inside, samples_of

NONE = np.empty(0, np.int64)


def waves(shift: float, contrast: float = 60.0) -> np.ndarray:
    """float32 [27, 48]: smooth waves across, moved right by `shift` pixels."""
    return np.tile(128 + contrast * np.sin((np.arange(48) - shift) / 4.0), (27, 1)).astype(np.float32)


@pytest.mark.parametrize("contrast", [20.0, 60.0])
@pytest.mark.parametrize("widths_per_s", [0.1, 0.3])
def test_the_speed_of_a_pan_whatever_the_contrast(widths_per_s, contrast):
    times_s = np.arange(20) / 25.0
    flow = measure(np.stack([waves(48 * widths_per_s * t, contrast) for t in times_s]), times_s, NONE)
    assert flow.speed == pytest.approx(np.full(19, widths_per_s), rel=0.15)
    assert flow.times_s == pytest.approx(times_s[:-1] + 0.02)


def test_a_still_picture_and_its_grain_hardly_move():
    rng = np.random.default_rng(1)
    times_s = np.arange(20) / 25.0
    still = np.stack([waves(0) + rng.normal(0, 0.3, (27, 48)) for _ in times_s]).astype(np.float32)
    assert measure(still, times_s, NONE).speed.max() < 0.02


def test_cuts_long_gaps_and_repeated_times_are_left_out():
    times_s = np.array([0.0, 0.1, 0.2, 0.2, 0.3, 0.3 + MAX_GAP_S + 0.01, 1.0])
    flow = measure(np.stack([waves(i) for i in range(7)]), times_s, np.array([1]))
    assert flow.times_s == pytest.approx([0.05, 0.25])


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pictures_have_no_speed(count):
    assert len(measure(np.zeros((count, 27, 48), np.float32), np.arange(count) / 25.0, NONE).speed) == 0


def test_motion_is_where_edges_move_fast_even_if_it_costs_the_encoder_nothing():
    times_s = np.arange(0, 40, 0.1)
    speed = np.where((times_s >= 20) & (times_s < 26), 0.5, 0.03).astype(np.float32)
    index, samples = index_of(calm(40)), samples_of(40)
    within, outside = inside(signals.measure(index, samples, flow=Flow(times_s, speed)), "motion", 20, 26)
    assert within > outside + 0.3
    within, outside = inside(signals.measure(index, samples), "motion", 20, 26)
    assert within == pytest.approx(outside, abs=0.05)
