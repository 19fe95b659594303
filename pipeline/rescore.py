"""Scores a report again: other weights, bounds, budget or prompts, from the features that it keeps. Decodes nothing."""

import base64

import msgspec
import numpy as np

from models.base import TextModel
from pipeline import segments, signals
from pipeline.curves import Curves, interpolate
from pipeline.errors import InvalidSpec
from pipeline.report import Embeddings, Report
from pipeline.spec import AnalysisSpec, SegmentSpec, check


def rescore(report: Report, spec: SegmentSpec, text_model: TextModel | None = None) -> Report:
    """The same report with the segments that `spec` asks for; everything else stays as it was.

    New prompts need the text tower of the model that the report was made with. Without prompts the `relevance` of a
    report that had some is dropped, because it answers a question that is no longer asked.

    Raises:
        InvalidSpec: a value out of range; or prompts that cannot be compared with the stored embeddings.
    """
    check(AnalysisSpec(segments=spec, models=report.spec.models))
    curves = stored_curves(report)
    features = report.features
    if spec.prompts != report.spec.segments.prompts:
        curves = _with_prompts(report, curves, spec.prompts, text_model)
        features = msgspec.structs.replace(features, signals=storable(curves))
    found = segments.choose(curves, report.shots, spec, report.video.duration_s)
    return msgspec.structs.replace(
        report,
        segments=segments.tagged(found, report.tags),
        features=features,
        spec=msgspec.structs.replace(report.spec, segments=spec),
    )


def stored_curves(report: Report) -> Curves:
    """The signal curves of a report, as `signals.measure` made them."""
    stored = report.features
    times_s = np.array(stored.pts_s, np.float64)
    whole = len(times_s) > 0 and times_s[0] > 0 and bool(np.all(np.diff(times_s) > 0)) and report.video.duration_s > 0
    if not whole or any(len(curve) != len(times_s) for curve in stored.signals.values()):
        raise InvalidSpec("features: the report's signals are damaged; analyse the video again")
    values = {name: np.array(curve, np.float32) for name, curve in stored.signals.items()}
    return Curves(times_s, values)


def storable(curves: Curves) -> dict[str, tuple[float, ...]]:
    """Curves as `Features.signals` keeps them: four digits say more than they mean, and a third of the bytes."""
    return {name: tuple(np.round(curve.astype(np.float64), 4).tolist()) for name, curve in curves.values.items()}


def pack(vectors: np.ndarray, pts_s: np.ndarray, space: str) -> Embeddings:
    """float32 [N, D] at `pts_s` (float64 [N]) as a report keeps them."""
    halves = np.ascontiguousarray(vectors, dtype="<f2")
    return Embeddings(
        space=space,
        dim=vectors.shape[1],
        pts_s=tuple(np.round(pts_s, 6).tolist()),
        float16_base64=base64.b64encode(halves.tobytes()).decode("ascii"),
    )


def unpack(embeddings: Embeddings) -> np.ndarray:
    """float32 [N, dim], L2-normalised again after the rounding to half precision.

    Raises:
        InvalidSpec: the report is damaged: the bytes are no N x dim halves.
    """
    try:
        flat = np.frombuffer(base64.b64decode(embeddings.float16_base64, validate=True), dtype="<f2")
        vectors = flat.reshape(len(embeddings.pts_s), embeddings.dim).astype(np.float32)
    except ValueError as error:
        raise InvalidSpec(
            f"features.embeddings: no {len(embeddings.pts_s)} x {embeddings.dim} vectors ({error})"
        ) from error
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _with_prompts(report: Report, curves: Curves, prompts: tuple[str, ...], text_model: TextModel | None) -> Curves:
    """The curves with `relevance` measured against other prompts, or without it where there are none."""
    others = {name: curve for name, curve in curves.values.items() if name != "relevance"}
    if not prompts:
        return Curves(curves.pts_s, others)
    kept = report.features.embeddings
    if kept is None:
        raise InvalidSpec(
            "segments.prompts: the report keeps no embeddings; analyse the video again with these prompts"
        )
    if text_model is None:
        raise InvalidSpec(f"segments.prompts: new prompts need the text model of the space {kept.space}")
    if text_model.info.space != kept.space:
        raise InvalidSpec(
            f"segments.prompts: {text_model.info.name} has the space {text_model.info.space}, the report's embeddings "
            f"{kept.space}; use the model that made the report, or analyse the video again"
        )
    vectors = unpack(kept)
    if not len(vectors):
        return Curves(curves.pts_s, others)
    match = signals.resemblance(vectors, text_model.embed_text(list(prompts)))
    cuts_s = np.array([shot.start_s for shot in report.shots if shot.start_s > 0.0])
    relevance = interpolate(match, np.array(kept.pts_s), curves.pts_s, cuts_s)
    return Curves(curves.pts_s, others | {"relevance": relevance.astype(np.float32)})
