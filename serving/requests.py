"""What is asked of the server, for both of its ends: the body of a job, and the analysis that options describe."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from pipeline.errors import InvalidSpec
from pipeline.record import Record
from pipeline.spec import AnalysisSpec, Label, Sampling, SegmentSpec, check
from serving.weights import parse_weights


class JobRequest(Record, frozen=True, kw_only=True):
    """What a job is to do. `spec` is the structure that the command line and reports have, too."""

    video_id: str
    spec: AnalysisSpec = AnalysisSpec()
    priority: Annotated[int, Meta(ge=-10, le=10)] = 0
    """Higher goes first among the jobs of a tenant; -10 to 10."""


def spec_of(
    *,
    model: str,
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
            labels=_labels(labels, vocabulary),
            segments=SegmentSpec(
                weights=parse_weights(weights),
                max_segments=max_segments,
                target_s=target_seconds,
                prompts=tuple(prompt or ()),
            ),
        )
    )


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
