"""What the caller asks: the same structure on the command line, in HTTP bodies and inside every report."""

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from pipeline.errors import InvalidSpec
from pipeline.hierarchy import ancestors
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
MAX_ALIASES = 20
MAX_MODELS = 16


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
    """The category it belongs to. Where that is a label too, what it belongs to holds as well, and so on."""
    aliases: tuple[str, ...] = ()
    """Other names: it is found by them, and may be called by them wherever a label is named. No prompts."""


class SegmentSpec(Record, frozen=True, kw_only=True):
    """How key segments are chosen."""

    weights: dict[str, float] = msgspec.field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    """Signal -> weight >= 0; a signal left out weighs 0, one that a video lacks is left out of the mean. The signal of
    an added model has the model's name, or `NAME.LABEL` where it gives several."""
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
    models: tuple[str, ...] = ()
    """Models that look at the same frames besides: classifiers, heads on the embedding, custom ones. What they find
    are further tags, and signals that `segments.weights` may name."""
    segments: SegmentSpec = SegmentSpec()
    shots: bool = True
    """Whether shots are sought."""
    reuse: bool = False
    """Whether a frame that looks the same as the one before (a slide, a still camera) may be taken for it, so that
    models look at it once; `decode.frames_reused` says how often that was so."""


def _require(ok: bool, message: str, pointer: str = "") -> None:
    if not ok:
        raise InvalidSpec(message, pointer)


def check(spec: AnalysisSpec) -> AnalysisSpec:
    """The spec itself, if its values make sense together.

    Raises:
        InvalidSpec: names the field, the value and what would be right.
    """
    _require(len(spec.model) <= MAX_TEXT, f"model: longer than {MAX_TEXT} characters", "/model")
    _check_models(spec)
    _check_sampling(spec.sampling)
    _check_segments(spec.segments, spec.models)
    check_labels(spec.labels or ())
    return spec


def _check_models(spec: AnalysisSpec) -> None:
    count = len(spec.models)
    _require(count <= MAX_MODELS, f"models: {count}, at most {MAX_MODELS} look at one video", "/models")
    for number, name in enumerate(spec.models):
        here, shown = f"/models/{number}", name[:50]
        _require(0 < len(name) <= MAX_TEXT, f"models: a name has 1 to {MAX_TEXT} characters", here)
        _require(name != spec.model, f"models: {shown} is the model itself; `models` are those besides", here)
        _require(name not in spec.models[:number], f"models: {shown} occurs twice", here)
        taken = f"models: {shown} is the name of a signal that every video has; give the model another name"
        _require(name not in DEFAULT_WEIGHTS, taken, here)


def _check_sampling(s: Sampling) -> None:
    fps = math.isfinite(s.fps) and 0 < s.fps <= 1000
    _require(fps, f"sampling.fps must be above 0 and at most 1000, not {s.fps}", "/sampling/fps")
    tolerance = f"sampling.tolerance_s must not be negative, not {s.tolerance_s}"
    _require(s.tolerance_s >= 0, tolerance, "/sampling/tolerance_s")
    few = f"sampling.max_frames must be at least 1, not {s.max_frames}"
    _require(s.max_frames is None or s.max_frames > 0, few, "/sampling/max_frames")


def _check_segments(g: SegmentSpec, models: tuple[str, ...]) -> None:
    here = "/segments/weights"
    unknown = ", ".join(sorted(name for name in g.weights if not is_signal(name, models)))
    known = ", ".join((*DEFAULT_WEIGHTS, *models))
    _require(not unknown, f"segments.weights: unknown signal {unknown[:200]}; known: {known[:500]}", here)
    for name, weight in g.weights.items():
        positive = math.isfinite(weight) and weight >= 0
        _require(positive, f"segments.weights.{name} must be 0 or more, not {weight}", f"{here}/{name}")
    _require(any(w > 0 for w in g.weights.values()), "segments.weights: at least one weight must be above 0", here)
    count = f"segments.max_segments must be 0 to {MAX_SEGMENTS}, not {g.max_segments}"
    _require(0 <= g.max_segments <= MAX_SEGMENTS, count, "/segments/max_segments")
    budget = f"segments.target_s must be above 0, not {g.target_s}"
    _require(g.target_s is None or g.target_s > 0, budget, "/segments/target_s")
    lengths = f"segments.min_s ({g.min_s}) must be above 0 and at most max_s ({g.max_s})"
    _require(0 < g.min_s <= g.max_s, lengths, "/segments/min_s")
    _check_prompts(g.prompts, "segments", "/segments/prompts")


def is_signal(name: str, models: Sequence[str]) -> bool:
    """Whether there may be such a signal where these models look on besides."""
    return name in DEFAULT_WEIGHTS or name in models or name.startswith(tuple(f"{model}." for model in models))


def check_labels(labels: tuple[Label, ...]) -> None:
    """Whether labels make sense, each and together. Raises InvalidSpec as `check`."""
    _require(len(labels) <= MAX_LABELS, f"labels: {len(labels)}, at most {MAX_LABELS} are taken", "/labels")
    seen: set[str] = set()
    for number, label in enumerate(labels):
        here, shown = f"/labels/{number}", label.name[:50]
        _require(_named(label.name), f"labels: {shown!r} holds no letter or digit", f"{here}/name")
        _require(len(label.name) <= MAX_TEXT, f"labels: over {MAX_TEXT} characters", f"{here}/name")
        _require(label.name not in seen, f"labels: a name occurs twice: {shown!r}", f"{here}/name")
        seen.add(label.name)
        threshold = f"labels.{shown}.threshold must be in [0, 1], not {label.threshold}"
        _require(0 <= label.threshold <= 1, threshold, f"{here}/threshold")
        _check_prompts(label.prompts, shown, f"{here}/prompts")
        if label.parent is not None:
            fits = _named(label.parent) and len(label.parent) <= MAX_TEXT
            _require(fits, f"labels.{shown}.parent: {label.parent[:50]!r} cannot be a name", f"{here}/parent")
    _check_aliases(labels)
    parents = {label.name: label.parent for label in labels}
    for number, label in enumerate(labels):
        try:
            ancestors(label.name, parents)
        except ValueError as error:
            raise InvalidSpec(f"labels.{label.name[:50]}.parent: {error}", f"/labels/{number}/parent") from error


def _check_aliases(labels: tuple[Label, ...]) -> None:
    """No name may mean two things: aliases differ from each other, and from all labels and categories."""
    taken = {label.name for label in labels} | {label.parent for label in labels}
    for number, label in enumerate(labels):
        shown, count = label.name[:50], len(label.aliases)
        many = f"{shown}: {count} aliases, at most {MAX_ALIASES} are taken"
        _require(count <= MAX_ALIASES, many, f"/labels/{number}/aliases")
        for place, alias in enumerate(label.aliases):
            here = f"/labels/{number}/aliases/{place}"
            fits = _named(alias) and len(alias) <= MAX_TEXT
            _require(fits, f"labels.{shown}.aliases: {alias[:50]!r} cannot be a name", here)
            _require(alias not in taken, f"labels.{shown}.aliases: {alias[:50]!r} is the name of something else", here)
            taken.add(alias)


def _named(name: str) -> bool:
    return any(map(str.isalnum, name))


def _check_prompts(prompts: tuple[str, ...], whose: str, pointer: str) -> None:
    _require(len(prompts) <= MAX_PROMPTS, f"{whose}: {len(prompts)} prompts, at most {MAX_PROMPTS} are taken", pointer)
    for number, text in enumerate(prompts):
        _require(len(text) <= MAX_TEXT, f"{whose}: a prompt longer than {MAX_TEXT} characters", f"{pointer}/{number}")
