"""What is asked of the server, for both of its ends: the body of a job, and the analysis that options describe."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from pipeline.errors import InvalidSpec
from pipeline.record import Record
from pipeline.spec import AnalysisSpec, Label, Sampling, SegmentSpec, check
from serving.uploads.names import PLAIN_PATTERN
from serving.weights import parse_weights


class JobRequest(Record, frozen=True, kw_only=True):
    """What a job is to do. `spec` is the structure that the command line and reports have, too."""

    video_id: str
    spec: AnalysisSpec = AnalysisSpec()
    priority: Annotated[int, Meta(ge=-10, le=10)] = 0
    """Higher goes first among the jobs of a tenant; -10 to 10."""
    timeout_s: Annotated[float, Meta(gt=0, le=604_800)] | None = None
    """How long one attempt may take, seconds, before the job fails; left out: as the server's settings say."""
    vocabulary: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    """Id or name of a vocabulary, in place of `spec.labels`: the job gets the labels that it has now."""


class JobAfter(Record, frozen=True, kw_only=True):
    """A job for a video that is on its way: as `JobRequest`, but for the id that it does not have yet."""

    spec: AnalysisSpec = AnalysisSpec()
    priority: Annotated[int, Meta(ge=-10, le=10)] = 0
    timeout_s: Annotated[float, Meta(gt=0, le=604_800)] | None = None
    vocabulary: Annotated[str, Meta(min_length=1, max_length=100)] | None = None


class FetchRequest(Record, frozen=True, kw_only=True):
    """A video that the server is to fetch."""

    url: str
    """http or https, of the public Internet. No user or password in it."""
    title: Annotated[str, Meta(min_length=1, max_length=500, pattern=PLAIN_PATTERN)] | None = None
    """The file's name where it is left out."""
    filename: Annotated[str, Meta(min_length=1, max_length=255, pattern=PLAIN_PATTERN)] | None = None
    """What the address says it is where it is left out."""
    job: JobAfter | None = None
    """An analysis to queue once the video is there; needs the scope `jobs:write`, too."""


def checked(request: JobRequest | JobAfter, place: str = "") -> None:
    """Whether the values of a request make sense together.

    Args:
        place: JSON pointer to it, where it is a part of a body.

    Raises:
        InvalidSpec: says what is wrong, and points at it.
    """
    try:
        check(request.spec)
    except InvalidSpec as error:
        raise InvalidSpec(str(error), f"{place}/spec{error.pointer}") from error
    if request.vocabulary is not None and request.spec.labels is not None:
        raise InvalidSpec("vocabulary and spec.labels exclude each other", f"{place}/vocabulary")


def spec_of(
    *,
    model: str,
    also: Sequence[str] | None,
    reuse: bool,
    sampling: str,
    fps: float,
    tolerance: float,
    max_frames: int | None,
    labels: str | None,
    vocabulary: str | None,
    prompt: Sequence[str] | None,
    weights: str | None,
    max_segments: int,
    target_seconds: float | None,
) -> AnalysisSpec:
    """The analysis that options of the command line describe; `serving.spec_options` says what each means.

    Raises:
        InvalidSpec: a value that cannot be, or values that exclude each other; says which.
    """
    return check(
        AnalysisSpec(
            sampling=_sampling(sampling, fps, tolerance, max_frames),
            model=model,
            models=tuple(also or ()),
            reuse=reuse,
            labels=_labels(labels, vocabulary),
            segments=SegmentSpec(
                weights=parse_weights(weights, models=also or ()),
                max_segments=max_segments,
                target_s=target_seconds,
                prompts=tuple(prompt or ()),
            ),
        )
    )


def is_name(vocabulary: str | None) -> bool:
    """Whether `--vocabulary` names one that the server has, rather than a file or labels."""
    return vocabulary is not None and "," not in vocabulary and not vocabulary.lower().endswith(".toml")


def _sampling(policy: str, fps: float, tolerance: float, max_frames: int | None) -> Sampling:
    try:
        return msgspec.convert(
            {"policy": policy, "fps": fps, "tolerance_s": tolerance, "max_frames": max_frames}, Sampling
        )
    except msgspec.ValidationError as error:
        raise InvalidSpec(f"--sampling: {policy!r} is not one of uniform, keyframes, snap") from error


def _labels(labels: str | None, vocabulary: str | None) -> tuple[Label, ...] | None:
    from pipeline.vocabulary import named, read

    if labels is not None and vocabulary is not None:
        raise InvalidSpec("--labels and --vocabulary exclude each other")
    if labels is not None:
        return named(labels)
    return read(vocabulary) if vocabulary is not None else None
