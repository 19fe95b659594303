"""Scoring a stored report again: without its video, quickly, and only with what can be compared."""

import time

import msgspec
import numpy as np
import pytest

from models.base import ModelInfo, TextModel
from pipeline import segments
from pipeline.curves import Curves, grid
from pipeline.decode.base import COUNTERS
from pipeline.errors import InvalidSpec
from pipeline.report import DecodeReport, Features, Report, Shot, Source, Timings, VideoInfo
from pipeline.rescore import pack, rescore, storable, stored_curves, unpack
from pipeline.spec import AnalysisSpec, SegmentSpec

AXES = np.eye(8, dtype=np.float32)


class Axes(TextModel):
    """A text is the name of an axis."""

    def __init__(self, space="space"):
        self.info = ModelInfo(name="axes", version="1", space=space, dim=8)

    def embed_text(self, texts):
        return np.stack([AXES[int(text)] for text in texts])


def report_of(duration_s=60.0, prompts=(), embeddings=True):
    """Motion at 10-15 s, novelty at 30-35 s, and frames that look like axis 3 at 45-50 s."""
    cells_s = grid(duration_s)
    rng = np.random.default_rng(0)
    values = {name: 0.2 + rng.uniform(-0.05, 0.05, len(cells_s)) for name in ("motion", "novelty", "quality")}
    values["motion"][(cells_s >= 10) & (cells_s < 15)] += 0.6
    values["novelty"][(cells_s >= 30) & (cells_s < 35)] += 0.6
    if prompts:
        values["relevance"] = np.where((cells_s >= 20) & (cells_s < 25), 1.0, 0.0)
    curves = Curves(cells_s, {name: curve.astype(np.float32) for name, curve in values.items()})
    pts_s = np.arange(duration_s)
    vectors = np.where(((pts_s >= 45) & (pts_s < 50))[:, None], AXES[3], AXES[0])
    spec = AnalysisSpec(segments=SegmentSpec(prompts=prompts))
    shots = (Shot(start_s=0, end_s=duration_s, score=1, transition="start", source=Source(name="t", version="1")),)
    return Report(
        video=VideoInfo(
            path="gone.mp4", size_bytes=1, container="mp4", codec="h264", duration_s=duration_s, start_s=0.0,
            width=1, height=1, coded_width=1, coded_height=1, rotation_deg=0, pixel_aspect=1.0, average_fps=1.0,
            variable_rate=False, frames=1, keyframes=1,
        ),
        decode=DecodeReport(
            backend="b", reason="r", sampling="s", frames_total=1, frames_wanted=1, frames_decoded=1, packets_fed=1
        ),
        shots=shots,
        segments=segments.choose(curves, shots, spec.segments, duration_s),
        tags=(), models=(), warnings=(), spec=spec,
        timings=Timings(index_s=0, decode_s=0, preprocess_s=0, infer_s=0, analyse_s=0, total_s=1, realtime_factor=60),
        features=Features(
            pts_s=tuple(cells_s.tolist()), signals=storable(curves),
            embeddings=pack(vectors, pts_s, "space") if embeddings else None,
        ),
    )  # fmt: skip


def middle(segment):
    return (segment.start_s + segment.end_s) / 2


def test_weights_change_the_order_and_the_report_remembers_them():
    report = report_of()
    spec = SegmentSpec(weights={"novelty": 1.0}, max_segments=1)
    again = rescore(report, spec)
    assert middle(again.segments[0]) == pytest.approx(32.5, abs=0.5)
    assert again.spec.segments == spec
    moving = rescore(report, SegmentSpec(weights={"motion": 1.0}, max_segments=1))
    assert middle(moving.segments[0]) == pytest.approx(12.5, abs=0.5)


def test_the_same_spec_gives_the_same_segments_after_a_trip_through_json():
    report = report_of()
    stored = msgspec.json.decode(msgspec.json.encode(report), type=Report)
    again = rescore(stored, stored.spec.segments)
    assert [(one.start_s, one.end_s) for one in again.segments] == [(one.start_s, one.end_s) for one in report.segments]
    assert [one.score for one in again.segments] == pytest.approx([one.score for one in report.segments], abs=1e-4)
    assert again.video == report.video


def test_budget_and_bounds():
    again = rescore(report_of(), SegmentSpec(max_segments=10, target_s=12.0, min_s=4.0, max_s=6.0))
    lengths = [one.end_s - one.start_s for one in again.segments]
    assert sum(lengths) <= 12.0 + 1e-6
    assert all(4.0 - 1e-3 <= length <= 6.0 + 1e-3 for length in lengths)


def test_new_prompts_find_what_they_describe():
    spec = SegmentSpec(prompts=("3",), weights={"relevance": 1.0}, max_segments=1)
    again = rescore(report_of(), spec, Axes())
    assert middle(again.segments[0]) == pytest.approx(47.0, abs=1.0)
    assert set(again.features.signals) == {"motion", "novelty", "quality", "relevance"}
    # The new curve is stored: the next change of weights needs no model.
    assert rescore(again, SegmentSpec(prompts=("3",), max_segments=2)).segments


def test_prompts_that_go_take_their_signal_along():
    again = rescore(report_of(prompts=("5",)), SegmentSpec())
    assert "relevance" not in again.features.signals
    assert all("relevance" not in one.signals for one in again.segments)


@pytest.mark.parametrize(
    ("model", "embeddings", "says"),
    [(Axes("other"), True, "other"), (None, True, "text model"), (Axes(), False, "no embeddings")],
)
def test_prompts_that_cannot_be_compared_are_refused(model, embeddings, says):
    with pytest.raises(InvalidSpec, match=says):
        rescore(report_of(embeddings=embeddings), SegmentSpec(prompts=("3",)), model)


def test_a_nonsensical_spec_is_refused():
    with pytest.raises(InvalidSpec, match="min_s"):
        rescore(report_of(), SegmentSpec(min_s=5.0, max_s=1.0))


def test_it_is_quick_and_decodes_nothing():
    report = report_of(600.0)
    before = COUNTERS.frames, COUNTERS.packets
    start = time.process_time()
    rescore(report, SegmentSpec(max_segments=10, prompts=("3",)), Axes())
    assert time.process_time() - start < 0.3  # about 0.03 s on an idle core
    assert (COUNTERS.frames, COUNTERS.packets) == before


def test_embeddings_survive_half_precision():
    vectors = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(unpack(pack(vectors, np.arange(20.0), "space")), vectors, atol=1e-3)


def test_damaged_embeddings_are_refused():
    kept = pack(AXES, np.arange(8.0), "space")
    with pytest.raises(InvalidSpec, match="8 x 8"):
        unpack(msgspec.structs.replace(kept, float16_base64=kept.float16_base64[:-8]))


def test_curves_survive_storage():
    report = report_of()
    curves = stored_curves(report)
    assert curves.pts_s.shape == (240,)
    assert curves.cell_s == pytest.approx(0.25)
