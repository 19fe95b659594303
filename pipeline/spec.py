"""What the caller asks: the same structure on the command line, in HTTP bodies and inside every report."""

import math
from typing import Literal

import msgspec

from pipeline.errors import InvalidSpec
from pipeline.record import Record

#: Signals that a segment's score is made of, with their default weights.
DEFAULT_WEIGHTS: dict[str, float] = {
    "motion": 1.0,
    "novelty": 1.0,
    "quality": 0.5,
    "relevance": 1.0,
    "audio": 0.5,
}

#: Most that is taken of what a caller may ask for: beyond it lies no use, but hours of somebody's machine.
MAX_SEGMENTS, MAX_LABELS, MAX_PROMPTS, MAX_TEXT = 1000, 5000, 100, 1000


class Sampling(Record, frozen=True, kw_only=True):
    """Which frames the models see."""

    policy: Literal["uniform", "keyframes", "snap"] = "uniform"
    """`uniform`: the frame shown at every multiple of 1/fps. `keyframes`: every keyframe, at most `fps` per second.
    `snap`: like uniform, but a cheaper frame (a keyframe) within `tolerance_s` is taken instead."""
    fps: float = 1.0
    """Frames per second of video."""
    tolerance_s: float = 0.5
    """How far `snap` may move a frame, seconds."""
    max_frames: int | None = None
    """Upper bound; longer videos are sampled more thinly."""


class Label(Record, frozen=True, kw_only=True):
    """A thing to look for."""

    name: str
    prompts: tuple[str, ...] = ()
    """Phrases that describe it; empty means the name itself, in the model's usual phrasing."""
    threshold: float = 0.5
    """Probability from which a frame counts as showing it."""
    parent: str | None = None
    """The category it belongs to."""


class SegmentSpec(Record, frozen=True, kw_only=True):
    """How key segments are chosen."""

    weights: dict[str, float] = msgspec.field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    """Signal -> weight >= 0; a signal left out weighs 0, one that a video lacks is left out of the mean."""
    max_segments: int = 5
    target_s: float | None = None
    """Budget as total seconds; with it, segments are added until it is used up (and `max_segments` still holds)."""
    min_s: float = 2.0
    max_s: float = 15.0
    prompts: tuple[str, ...] = ()
    """What a good moment shows, in words: drives the `relevance` signal."""


class AnalysisSpec(Record, frozen=True, kw_only=True):
    """One analysis, whole."""

    sampling: Sampling = Sampling()
    model: str = "auto"
    labels: tuple[Label, ...] | None = None
    """None: the model's default vocabulary; empty: no tags."""
    segments: SegmentSpec = SegmentSpec()
    shots: bool = True
    """Whether shots are sought."""


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise InvalidSpec(message)


def check(spec: AnalysisSpec) -> AnalysisSpec:
    """The spec itself, if its values make sense together.

    Raises:
        InvalidSpec: names the field, the value and what would be right.
    """
    s, g = spec.sampling, spec.segments
    _require(math.isfinite(s.fps) and 0 < s.fps <= 1000, f"sampling.fps must be above 0 and at most 1000, not {s.fps}")
    _require(s.tolerance_s >= 0, f"sampling.tolerance_s must not be negative, not {s.tolerance_s}")
    _require(s.max_frames is None or s.max_frames > 0, f"sampling.max_frames must be at least 1, not {s.max_frames}")
    unknown = sorted(set(g.weights) - set(DEFAULT_WEIGHTS))
    _require(not unknown, f"segments.weights: unknown signal {', '.join(unknown)}; known: {', '.join(DEFAULT_WEIGHTS)}")
    for name, weight in g.weights.items():
        _require(math.isfinite(weight) and weight >= 0, f"segments.weights.{name} must be 0 or more, not {weight}")
    _require(any(w > 0 for w in g.weights.values()), "segments.weights: at least one weight must be above 0")
    _require(
        0 <= g.max_segments <= MAX_SEGMENTS, f"segments.max_segments must be 0 to {MAX_SEGMENTS}, not {g.max_segments}"
    )
    _require(g.target_s is None or g.target_s > 0, f"segments.target_s must be above 0, not {g.target_s}")
    _require(0 < g.min_s <= g.max_s, f"segments.min_s ({g.min_s}) must be above 0 and at most max_s ({g.max_s})")
    for label in spec.labels or ():
        _require(any(map(str.isalnum, label.name)), f"labels: {label.name!r} holds no letter or digit")
        _require(0 <= label.threshold <= 1, f"labels.{label.name}.threshold must be in [0, 1], not {label.threshold}")
    _require(len(spec.labels or ()) <= MAX_LABELS, f"labels: {len(spec.labels or ())}, at most {MAX_LABELS} are taken")
    _require(len(spec.model) <= MAX_TEXT, f"model: longer than {MAX_TEXT} characters")
    for prompts, whose in ((g.prompts, "segments"), *((label.prompts, label.name[:50]) for label in spec.labels or ())):
        _require(len(prompts) <= MAX_PROMPTS, f"{whose}: {len(prompts)} prompts, at most {MAX_PROMPTS} are taken")
        _require(all(len(text) <= MAX_TEXT for text in prompts), f"{whose}: a prompt longer than {MAX_TEXT} characters")
    _require(all(len(label.name) <= MAX_TEXT for label in spec.labels or ()), f"labels: over {MAX_TEXT} characters")
    names = [label.name for label in spec.labels or ()]
    _require(len(names) == len(set(names)), "labels: a name occurs twice")
    return spec
