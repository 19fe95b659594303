"""Key segments on curves whose best stretches are planted, and what must hold for any curves."""

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import segments
from pipeline.curves import Curves, grid
from pipeline.report import Shot, Source, Tag, TagRange
from pipeline.spec import DEFAULT_WEIGHTS, SegmentSpec

SOURCE = Source(name="test", version="1")


def curves_of(duration_s, bumps, *, base=0.2, seed=0):
    """Noisy curves: `bumps` are (signal, start_s, end_s, height)."""
    cells_s = grid(duration_s)
    rng = np.random.default_rng(seed)
    names = dict.fromkeys(["motion", "novelty", "quality", *(bump[0] for bump in bumps)])
    values = {name: base + rng.uniform(-0.05, 0.05, len(cells_s)) for name in names}
    for name, start_s, end_s, height in bumps:
        values[name][(cells_s >= start_s) & (cells_s < end_s)] += height
    return Curves(cells_s, {name: np.clip(curve, 0, 1).astype(np.float32) for name, curve in values.items()})


def shots_at(*borders):
    return tuple(
        Shot(start_s=start, end_s=end, score=1.0, transition="cut", source=SOURCE) for start, end in pairwise(borders)
    )


def iou(segment, start_s, end_s):
    shared = min(segment.end_s, end_s) - max(segment.start_s, start_s)
    return max(0.0, shared) / (max(segment.end_s, end_s) - min(segment.start_s, start_s))


@pytest.mark.parametrize(("start_s", "end_s"), [(20.0, 23.0), (20.0, 28.0), (0.0, 5.0), (54.0, 60.0), (31.3, 41.9)])
def test_the_extent_is_that_of_the_peak(start_s, end_s):
    curves = curves_of(60.0, [("motion", start_s, end_s, 0.6)])
    (found,) = segments.choose(curves, (), SegmentSpec(max_segments=1), 60.0)
    assert iou(found, start_s, end_s) > 0.85


def test_each_of_several_peaks_gets_a_segment_best_score_first():
    curves = curves_of(60.0, [("motion", 10, 15, 0.5), ("novelty", 30, 34, 0.7), ("quality", 50, 57, 0.6)])
    found = segments.choose(curves, (), SegmentSpec(max_segments=3), 60.0)
    for start_s, end_s in ((10, 15), (30, 34), (50, 57)):
        assert max(iou(one, start_s, end_s) for one in found) > 0.8
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_weights_decide_which_peak_wins():
    curves = curves_of(60.0, [("motion", 10, 15, 0.6), ("novelty", 30, 35, 0.6)])
    (moving,) = segments.choose(curves, (), SegmentSpec(max_segments=1, weights={"motion": 3, "novelty": 1}), 60.0)
    (new,) = segments.choose(curves, (), SegmentSpec(max_segments=1, weights={"motion": 1, "novelty": 3}), 60.0)
    assert iou(moving, 10, 15) > 0.8
    assert iou(new, 30, 35) > 0.8


def test_a_signal_without_weight_or_curve_takes_no_part():
    curves = curves_of(30.0, [("motion", 10, 15, 0.6)])
    spec = SegmentSpec(max_segments=1, weights={"motion": 1.0, "audio": 5.0, "novelty": 0.0})
    (found,) = segments.choose(curves, (), spec, 30.0)
    assert set(found.signals) == {"motion"}
    assert segments.choose(curves, (), SegmentSpec(weights={"audio": 1.0}), 30.0) == ()


def test_borders_snap_to_near_cuts_and_to_no_others():
    curves = curves_of(60.0, [("motion", 20.5, 27.75, 0.6)])
    (found,) = segments.choose(curves, shots_at(0, 20.25, 28.0, 60), SegmentSpec(max_segments=1), 60.0)
    assert (found.start_s, found.end_s) == (20.25, 28.0)
    (free,) = segments.choose(curves, shots_at(0, 18.0, 31.0, 60), SegmentSpec(max_segments=1), 60.0)
    assert (free.start_s, free.end_s) == (20.5, 27.75)


def test_a_peak_longer_than_allowed_is_cut_to_the_bound():
    curves = curves_of(60.0, [("motion", 10, 40, 0.6)])
    (found,) = segments.choose(curves, (), SegmentSpec(max_segments=1, max_s=8.0), 60.0)
    assert found.start_s >= 9.75
    assert found.end_s <= 40.25
    assert found.end_s - found.start_s == pytest.approx(8.0, abs=0.26)


def test_target_s_is_filled_and_kept():
    curves = curves_of(120.0, [("motion", 10 * n, 10 * n + 4, 0.6) for n in range(1, 11)])
    found = segments.choose(curves, (), SegmentSpec(max_segments=50, target_s=20.0), 120.0)
    total_s = sum(one.end_s - one.start_s for one in found)
    assert 14.0 < total_s <= 20.0 + 1e-6
    assert sum(max(iou(one, 10 * n, 10 * n + 4) for n in range(1, 11)) > 0.7 for one in found) >= 4


def test_a_video_shorter_than_the_shortest_segment_is_one():
    curves = curves_of(1.2, [])
    (found,) = segments.choose(curves, (), SegmentSpec(), 1.2)
    assert (found.start_s, found.end_s) == (0.0, 1.2)
    assert segments.choose(curves, (), SegmentSpec(max_segments=0), 1.2) == ()


def test_a_video_in_which_nothing_happens_still_gives_neutral_segments():
    cells_s = grid(30.0)
    flat = Curves(cells_s, {"motion": np.full(len(cells_s), 0.5, np.float32)})
    found = segments.choose(flat, (), SegmentSpec(max_segments=2), 30.0)
    assert [one.score for one in found] == pytest.approx([0.5, 0.5])
    assert all("no signal stands out" in one.reasons[0] for one in found)


def test_reasons_name_what_stands_out_strongest_first():
    curves = curves_of(100.0, [("motion", 40, 44, 0.7), ("novelty", 40, 44, 0.3)])
    (found,) = segments.choose(curves, (), SegmentSpec(max_segments=1), 100.0)
    assert found.reasons[0].startswith("motion is in the top ")
    assert found.reasons[1].startswith("novelty")
    assert not any("quality" in reason for reason in found.reasons)
    percent = int(found.reasons[0].split("top ")[1].split(" %")[0])
    assert percent <= 5


def test_the_thumbnail_is_the_best_looking_moment_inside():
    curves = curves_of(60.0, [("motion", 20, 30, 0.6), ("quality", 24, 24.5, 0.5), ("quality", 50, 51, 0.7)])
    (found,) = segments.choose(curves, (), SegmentSpec(max_segments=1), 60.0)
    assert 24.0 <= found.thumbnail_s <= 24.5


def test_segments_get_the_labels_that_hold_in_them():
    curves = curves_of(60.0, [("motion", 20, 26, 0.6)])
    found = segments.choose(curves, (), SegmentSpec(max_segments=1), 60.0)

    def tag(label, start_s, end_s, score, kind="tag"):
        span = TagRange(start_s=start_s, end_s=end_s, score=score)
        ends = {"start_s": start_s, "end_s": end_s}
        return Tag(kind=kind, label=label, score=score, coverage=0.1, ranges=(span,), source=SOURCE, **ends)

    tags = (
        tag("dog", 0, 21, 0.6),
        tag("cat", 22, 40, 0.9),
        tag("car", 40, 50, 0.9),
        tag("animals", 0, 40, 0.9, "category"),
    )
    (labelled,) = segments.tagged(found, tags)
    assert labelled.tags == ("cat", "dog")
    assert labelled.score == found[0].score


def test_weighting_a_long_video_again_is_quick():
    rng = np.random.default_rng(0)
    cells_s = grid(1200.0)
    curves = Curves(cells_s, {name: rng.uniform(0, 1, len(cells_s)).astype(np.float32) for name in DEFAULT_WEIGHTS})
    start = time.process_time()
    segments.choose(curves, (), SegmentSpec(max_segments=20), 1200.0)
    assert time.process_time() - start < 0.5  # about 0.03 s on an idle core


@st.composite
def problems(draw):
    """Curves, shots, a spec and a duration."""
    duration_s = draw(st.floats(0.05, 90.0))
    cells_s = grid(duration_s)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = draw(st.lists(st.sampled_from(sorted(DEFAULT_WEIGHTS)), min_size=1, unique=True))
    sharpness = draw(st.sampled_from([0.0, 1.0, 8.0]))  # flat, noise, spikes
    values = {name: rng.uniform(0, 1, len(cells_s)).astype(np.float32) ** np.float32(sharpness) for name in names}
    cuts = sorted(draw(st.lists(st.floats(0.01, 0.99), max_size=6)))
    min_s = draw(st.floats(0.1, 10.0))
    spec = SegmentSpec(
        weights={name: draw(st.floats(0.01, 10)) for name in names},
        max_segments=draw(st.integers(0, 8)),
        target_s=draw(st.none() | st.floats(0.5, 60.0)),
        min_s=min_s,
        max_s=min_s + draw(st.floats(0.0, 20.0)),
    )
    borders = sorted({0.0, *(cut * duration_s for cut in cuts), duration_s})
    return Curves(cells_s, values), shots_at(*borders), spec, duration_s


@given(problems())
@settings(max_examples=60, deadline=None)
def test_what_must_hold_for_any_curves(problem):
    curves, shots, spec, duration_s = problem
    found = segments.choose(curves, shots, spec, duration_s)
    assert found == segments.choose(curves, shots, spec, duration_s)
    assert len(found) <= spec.max_segments
    in_time = sorted(found, key=lambda one: one.start_s)
    for one, following in pairwise(in_time):
        assert one.end_s <= following.start_s + 1e-6
    for one in found:
        assert 0.0 <= one.score <= 1.0 + 1e-6
        assert sum(one.signals.values()) == pytest.approx(one.score)
        assert 0.0 <= one.start_s <= one.thumbnail_s <= one.end_s <= duration_s + 1e-3
        assert one.end_s - one.start_s <= spec.max_s + 0.002
        assert one.end_s - one.start_s >= min(spec.min_s, duration_s) - 0.002
        assert one.reasons
    if spec.target_s is not None:
        assert sum(one.end_s - one.start_s for one in found) <= spec.target_s + 0.002 * len(found)
