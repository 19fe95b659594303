"""What added models say of a video: further tags, signals of how good a moment is, and what they failed at."""

from collections.abc import Iterator, Mapping

import numpy as np

from models.base import ModelInfo
from pipeline import tags
from pipeline.curves import interpolate, normalise
from pipeline.frames import Failed
from pipeline.report import Notice, Source, Tag
from pipeline.spec import AnalysisSpec, Label

Rows = Mapping[str, np.ndarray]
"""Name of an added model -> float32 [N, D], a row a sampled frame; NaN where it failed."""

SPREAD = 0.25
"""A signal that differs by less than this within a video, on its scale from 0 to 1, is drawn towards 0.5: it does not
choose between moments."""


def found_tags(added: Mapping[str, ModelInfo], rows: Rows, pts_s: np.ndarray, duration_s: float) -> tuple[Tag, ...]:
    """Tags and categories of all models of the kind `scores`, in the order of the models."""
    found: list[Tag] = []
    for name, info in added.items():
        places = [place for place, score in enumerate(info.scores) if not score.signal]
        if not places or name not in rows:
            continue
        known = np.isfinite(rows[name]).all(1)
        found += tags.of_probabilities(
            pts_s[known],
            rows[name][known][:, places].astype(np.float64),
            [_label(info, place) for place in places],
            duration_s=duration_s,
            source=Source(name=info.name, version=info.space),
        )
    return tuple(found)


def signals(
    added: Mapping[str, ModelInfo], rows: Rows, pts_s: np.ndarray, cells_s: np.ndarray, cuts_s: np.ndarray
) -> dict[str, np.ndarray]:
    """Signal -> float32 [G] in [0, 1] at `cells_s` (float64 [G], seconds); `cuts_s`: where shots begin."""
    found = {}
    for name, info in added.items():
        if name not in rows:
            continue
        known = np.isfinite(rows[name]).all(1)
        for signal, place in signal_columns(name, info):
            if known.any():
                values = normalise(rows[name][known, place].astype(np.float64), SPREAD)
                found[signal] = interpolate(values, pts_s[known], cells_s, cuts_s).astype(np.float32)
    return found


def signal_columns(name: str, info: ModelInfo) -> Iterator[tuple[str, int]]:
    """Name of each signal that a model gives, and its column; see `SegmentSpec.weights`."""
    places = [place for place, score in enumerate(info.scores) if score.signal]
    for place in places:
        yield (name if len(places) == 1 else f"{name}.{info.scores[place].label}"), place


def notices(
    added: Mapping[str, ModelInfo], failed: Mapping[str, Failed], spec: AnalysisSpec, shorter_side: int
) -> Iterator[Notice]:
    """What the caller should know of them."""
    for name, failure in failed.items():
        yield Notice(
            code="model_failed",
            message=f"the model {name} gave nothing for {failure.frames} frames, so that its tags and signals are "
            f"without them: {failure.reason}",
        )
    fps = spec.sampling.fps
    for name, info in added.items():
        if info.needs.fps is not None and fps < info.needs.fps:
            yield Notice(
                code="model_needs_more",
                message=f"the model {name} wants {info.needs.fps:g} frames per second and saw {fps:g}; "
                "what it says is not to be relied on",
            )
        if info.needs.side is not None and shorter_side < info.needs.side:
            yield Notice(
                code="model_needs_more",
                message=f"the model {name} wants frames of {info.needs.side} pixels at least on the shorter side; "
                f"these have {shorter_side}, and what it says is not to be relied on",
            )
        idle = [signal for signal, _ in signal_columns(name, info) if signal not in spec.segments.weights]
        if idle:
            yield Notice(
                code="signal_without_weight",
                message=f"key segments do not go by {', '.join(idle)}: give it a weight (segments.weights)",
            )


def _label(info: ModelInfo, place: int) -> Label:
    score = info.scores[place]
    return Label(name=score.label, threshold=score.threshold, parent=score.parent)
