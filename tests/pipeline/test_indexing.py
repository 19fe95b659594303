"""Samples that lead others: in their shot, one after another, as near as is said, and each of them led by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as some

from pipeline.finding import unit
from pipeline.indexing import ALIKE, alike


def test_a_run_is_led_by_its_first_and_ends_with_the_shot():
    one, other = np.eye(2, dtype=np.float32)
    near = unit(one + 0.2 * other)
    vectors = np.array([one, near, one, other, other, one, one], np.float32)
    shots = np.array([0, 0, 0, 0, 1, 1, 1])
    assert alike(vectors, shots).tolist() == [3, 0, 0, 1, 1, 2, 0]


def test_a_slow_change_is_led_anew_before_it_is_far():
    angles = np.linspace(0, np.pi / 2, 40)
    vectors = np.stack((np.cos(angles), np.sin(angles)), 1).astype(np.float32)
    counts = alike(vectors, np.zeros(40, np.int64))
    assert 2 < np.count_nonzero(counts) < 6


@given(some.integers(0, 2**32 - 1), some.integers(1, 60), some.floats(0.0, 0.6))
def test_each_is_led_by_one_that_it_looks_like(seed, count, noise):
    rng = np.random.default_rng(seed)
    vectors = unit(np.repeat(rng.standard_normal((count, 4)), 3, axis=0)[:count] + noise)
    shots = np.sort(rng.integers(0, 4, count))
    counts = alike(vectors, shots)
    assert counts.sum() == count
    for at in np.flatnonzero(counts):
        led = slice(at, at + counts[at])
        assert (counts[led][1:] == 0).all()
        assert (vectors[led] @ vectors[at] >= ALIKE - 1e-6).all()
        assert len(set(shots[led].tolist())) == 1
