"""Two models on the same frames of a video: one decode, and what each makes of it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from pipeline import added, segments, signals, tags, wording
from pipeline.comparing import (
    Cosines,
    LabelAgreement,
    Neighbourhoods,
    SegmentChange,
    Span,
    agreement,
    cosines,
    furthest_apart,
    label_agreements,
    label_difference,
    most_alike,
    neighbourhoods,
    segment_change,
)
from pipeline.curves import Curves
from pipeline.errors import CorruptVideo, ModelUnavailable
from pipeline.frames import Loudness, Samples
from pipeline.media import Inspected
from pipeline.record import Record
from pipeline.report import Notice, Segment, Source, TagRange
from pipeline.sampling import choose
from pipeline.saying import Said, Side, Speaker, said
from pipeline.scan import Scan, scan
from pipeline.spec import AnalysisSpec
from pipeline.toolkit import EMBEDDING, STATS, Toolkit

MOST_APART = 12
"""Frames of a video that are told of because the models disagree on them."""


class Saying(Record, frozen=True, kw_only=True):
    """What a model makes of one frame."""

    labels: tuple[Said, ...] = ()
    most_like_s: float | None = None
    """Time of the frame that is most like this one to it, seconds; None where it gives no vectors."""


class Disagreement(Record, frozen=True, kw_only=True):
    """A frame on which the models disagree."""

    time_s: float
    labels: float | None = None
    """See `comparing.label_difference`; None where they have no labels in common."""
    neighbours: float | None = None
    """Share of its nearest frames that is the same to both; None where they are not compared."""
    cosine: float | None = None
    """Between the two vectors, of versions of one model."""
    a: Saying
    b: Saying


class VideoComparison(Record, frozen=True, kw_only=True):
    """Two models on one video."""

    path: str
    duration_s: float
    width: int
    height: int
    frames: int
    """On which both were compared."""
    labels: int
    """How many both were asked for."""
    agreement: float | None
    """On the labels together, over time; None where neither found any."""
    tags: tuple[LabelAgreement, ...]
    neighbourhoods: Neighbourhoods | None
    cosines: Cosines | None
    segments: SegmentChange | None
    """None where one of them does not choose between moments."""
    disagreements: tuple[Disagreement, ...]
    """Worst first."""
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class _Watched:
    """A video, seen by both."""

    inspected: Inspected
    seen: Scan
    loudness: Loudness | None

    @property
    def cuts_s(self) -> np.ndarray:
        return np.array([shot.start_s for shot in self.seen.shots[1:]])


@dataclass(frozen=True, slots=True)
class _One:
    """What one of them gave for the frames that both gave something for."""

    side: Side
    rows: np.ndarray
    """float32 [N, D]."""
    speaker: Speaker | None
    judged: np.ndarray | None
    """float64 [N, L], by the speaker."""

    @property
    def vectors(self) -> np.ndarray | None:
        """The rows, where they are vectors of a space."""
        return self.rows if self.side.info.kind == "embedding" else None


async def compare(
    path: Path,
    a: Side,
    b: Side,
    speakers: tuple[Speaker, Speaker] | None,
    spec: AnalysisSpec,
    toolkit: Toolkit,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> VideoComparison:
    """Run both on the frames that `spec` samples, decoded once.

    Args:
        speakers: as `saying.speakers` gives them.
        spec: sampling and key segments; labels are the speakers'.
        toolkit: whose engine runs both under their keys.
        progress: called with (frames done, frames wanted) from the event loop.

    Raises:
        VideoError: the video cannot be processed; ModelUnavailable where one of the two gave nothing at all.
    """
    watched = await _watch(path, (a, b), spec, toolkit, progress)
    return await asyncio.to_thread(_compared, str(path), watched, (a, b), speakers, spec, toolkit)


async def _watch(
    path: Path, sides: tuple[Side, Side], spec: AnalysisSpec, toolkit: Toolkit, progress: Callable[[int, int], None]
) -> _Watched:
    media = toolkit.open(path)
    inspected = await asyncio.to_thread(media.inspect)
    info = inspected.info
    sound = asyncio.create_task(asyncio.to_thread(media.listen, start_s=info.start_s, duration_s=info.duration_s))
    try:
        wanted = choose(inspected.index, spec.sampling)
        seen = await scan(media, inspected.index, wanted, toolkit.engine, shots=True, progress=progress)
        loudness, _ = await sound
    finally:
        sound.cancel()
    if not len(seen.pts_s):
        raise CorruptVideo(f"{path}: none of {len(wanted)} wanted frames can be decoded")
    for side in sides:
        if side.key not in seen.arrays:
            raise ModelUnavailable(f"{side.info.name} gave nothing for {path}: {seen.failed[side.key].reason}")
    return _Watched(inspected, seen, loudness)


def _compared(
    path: str,
    watched: _Watched,
    sides: tuple[Side, Side],
    speakers: tuple[Speaker, Speaker] | None,
    spec: AnalysisSpec,
    toolkit: Toolkit,
) -> VideoComparison:
    info, seen = watched.inspected.info, watched.seen
    known = np.isfinite(np.concatenate([seen.arrays[side.key] for side in sides], axis=1)).all(1)
    pts_s = seen.pts_s[known]
    a, b = (
        _one(side, seen.arrays[side.key][known], None if speakers is None else speakers[place])
        for place, side in enumerate(sides)
    )
    found = label_agreements(_spans(a, pts_s, info.duration_s), _spans(b, pts_s, info.duration_s), info.duration_s)
    near = same = None
    if a.vectors is not None and b.vectors is not None:
        near = neighbourhoods(a.vectors, b.vectors)
        if a.side.info.space == b.side.info.space:
            same = cosines(a.vectors, b.vectors, pts_s)
    choices = [_choice(side, watched, spec, toolkit) for side in sides]
    told = added.notices(toolkit.added, seen.failed, spec, min(info.width, info.height))
    return VideoComparison(
        path=path,
        duration_s=info.duration_s,
        width=info.width,
        height=info.height,
        frames=len(pts_s),
        labels=0 if speakers is None else len(speakers[0].labels),
        agreement=agreement(found),
        tags=found,
        neighbourhoods=None if near is None else near[0],
        cosines=None if same is None else same[0],
        segments=None if choices[0] is None or choices[1] is None else segment_change(choices[0], choices[1]),
        disagreements=_disagreements(
            pts_s, a, b, None if near is None else near[1], None if same is None else same[1], info.duration_s
        ),
        # Which weight a signal has is no question here: every signal of a model that is compared counts.
        notices=tuple(notice for notice in told if notice.code != "signal_without_weight"),
    )


def _one(side: Side, rows: np.ndarray, speaker: Speaker | None) -> _One:
    return _One(side, rows, speaker, None if speaker is None else speaker.judge(rows))


def _spans(one: _One, pts_s: np.ndarray, duration_s: float) -> dict[str, tuple[Span, ...]]:
    """When it says that which label holds."""
    if one.speaker is None or one.judged is None:
        return {}
    source = Source(name=one.side.info.name, version=one.side.info.space)
    found = tags.of_probabilities(pts_s, one.judged, one.speaker.labels, duration_s=duration_s, source=source)
    return {tag.label: _places(tag.ranges) for tag in found if tag.kind == "tag"}


def _places(found: Sequence[TagRange] | Sequence[Segment]) -> tuple[Span, ...]:
    return tuple(Span(start_s=one.start_s, end_s=one.end_s) for one in found)


def _choice(side: Side, watched: _Watched, spec: AnalysisSpec, toolkit: Toolkit) -> tuple[Span, ...] | None:
    """Key segments as an analysis with this model chooses them: an encoder by its own vectors and words, one that gives
    signals beside the toolkit's encoder, each with a weight of 1. None of a model that is neither."""
    seen = watched.seen
    duration_s = watched.inspected.info.duration_s
    if side.encoder is not None:
        curves = _curves(side.key, watched, spec, replace(toolkit, encoder=side.encoder))
        return _places(segments.choose(curves, seen.shots, spec.segments, duration_s))
    names = [name for name, _ in added.signal_columns(side.key, side.info)]
    if not names:
        return None
    own = {side.key: side.info}
    curves = _curves(EMBEDDING, watched, spec, toolkit).joined(
        lambda cells_s: added.signals(own, seen.arrays, seen.pts_s, cells_s, watched.cuts_s)
    )
    weights = spec.segments.weights | dict.fromkeys(names, 1.0)
    weighed = msgspec.structs.replace(spec.segments, weights=weights)
    return _places(segments.choose(curves, seen.shots, weighed, duration_s))


def _curves(key: str, watched: _Watched, spec: AnalysisSpec, toolkit: Toolkit) -> Curves:
    seen = watched.seen
    there = np.isfinite(seen.arrays[key]).all(1)
    return signals.measure(
        watched.inspected.index,
        Samples(seen.pts_s[there], seen.arrays[key][there], seen.arrays[STATS][there]),
        watched.loudness,
        cuts_s=watched.cuts_s,
        flow=seen.flow,
        **wording.relevance_vectors(spec, toolkit),
    )


def _disagreements(
    pts_s: np.ndarray, a: _One, b: _One, near: np.ndarray | None, cosine: np.ndarray | None, duration_s: float
) -> tuple[Disagreement, ...]:
    """Frames on which they differ most: in what they say, then in the vectors of versions, then in what is alike."""
    said_apart = None
    if a.speaker is not None and b.speaker is not None and a.judged is not None and b.judged is not None:
        said_apart = label_difference(a.judged, b.judged, a.speaker.thresholds, b.speaker.thresholds)
    differences = [said_apart, None if cosine is None else 1.0 - cosine, None if near is None else 1.0 - near]
    there = [one for one in differences if one is not None]
    apart = furthest_apart(there, pts_s, MOST_APART, duration_s / (4 * MOST_APART)) if there else ()
    return tuple(
        Disagreement(
            time_s=float(pts_s[row]),
            labels=None if said_apart is None else round(float(said_apart[row]), 4),
            neighbours=None if near is None else round(float(near[row]), 4),
            cosine=None if cosine is None else round(float(cosine[row]), 6),
            a=_saying(a, row, pts_s),
            b=_saying(b, row, pts_s),
        )
        for row in apart
    )


def _saying(one: _One, row: int, pts_s: np.ndarray) -> Saying:
    labels = () if one.speaker is None or one.judged is None else said(one.judged[row], one.speaker.labels)
    like = None if one.vectors is None or len(pts_s) < 2 else float(pts_s[most_alike(one.vectors, row)])
    return Saying(labels=labels, most_like_s=like)
