"""Sampling policies: which frames are on screen when, and what bounds hold."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidSpec
from pipeline.packets import PacketIndex
from pipeline.sampling import POLICIES, choose, describe
from pipeline.spec import AnalysisSpec, Sampling, check
from tests.pipeline.indexes import CODEC


def index_of(times_ms: list[int], entries: set[int], duration_ms: int | None = None) -> PacketIndex:
    """An index of pictures in display order; one packet a picture."""
    count = len(times_ms)
    flags = np.zeros(count, bool)
    entry = np.array([n in entries or n == 0 for n in range(count)])
    return PacketIndex(
        pts=np.array(times_ms, np.int64),
        size=np.full(count, 1000, np.int32),
        keyframe=entry,
        entry=entry,
        disposable=flags,
        shown=~flags,
        packed=False,
        time_base=Fraction(1, 1000),
        origin=times_ms[0],
        end=duration_ms if duration_ms is not None else times_ms[-1] + 40,
        codec=CODEC,
    )


CONSTANT = index_of(list(range(0, 4000, 40)), {0, 50})


def test_uniform_takes_the_frame_on_screen():
    assert choose(CONSTANT, Sampling(fps=1)).tolist() == [0, 25, 50, 75]


def test_a_frame_that_stays_on_screen_is_taken_once():
    held = index_of([0, 40, 5000, 5040], {0}, 6000)
    assert choose(held, Sampling(fps=1)).tolist() == [0, 1, 2]


def test_keyframes_are_thinned_to_the_rate():
    index = index_of(list(range(0, 4000, 40)), {0, 10, 20, 50})
    assert choose(index, Sampling(policy="keyframes", fps=1)).tolist() == [0, 50]
    assert choose(index, Sampling(policy="keyframes", fps=10)).tolist() == [0, 10, 20, 50]


def test_snap_takes_a_keyframe_within_the_tolerance_only():
    index = index_of(list(range(0, 4000, 40)), {0, 57})
    assert choose(index, Sampling(policy="snap", fps=1, tolerance_s=0.5)).tolist() == [0, 25, 57, 75]
    assert choose(index, Sampling(policy="snap", fps=1, tolerance_s=0.1)).tolist() == [0, 25, 50, 75]


@given(
    gaps=st.lists(st.integers(1, 900), min_size=1, max_size=60),
    fps=st.floats(0.05, 60),
    policy=st.sampled_from(sorted(POLICIES)),
    most=st.none() | st.integers(1, 10),
    tolerance=st.floats(0, 3),
    entries=st.sets(st.integers(0, 60)),
)
def test_every_policy_gives_distinct_shown_frames_in_time_order(gaps, fps, policy, most, tolerance, entries):
    index = index_of([0, *np.cumsum(gaps).tolist()], entries)
    rows = choose(index, Sampling(policy=policy, fps=fps, max_frames=most, tolerance_s=tolerance))
    assert len(rows) >= 1
    assert np.all(np.diff(index.pts[rows]) > 0)
    assert index.shown[rows].all()
    assert most is None or len(rows) <= most


def test_a_policy_is_described_in_words():
    assert describe(Sampling(fps=2, max_frames=5)) == "uniform, 2 frame/s, at most 5 frames"


@pytest.mark.parametrize(
    "bad", [Sampling(fps=0), Sampling(fps=float("nan")), Sampling(max_frames=0), Sampling(tolerance_s=-1)]
)
def test_nonsense_is_refused_with_the_field(bad):
    with pytest.raises(InvalidSpec, match=r"sampling\."):
        check(AnalysisSpec(sampling=bad))
