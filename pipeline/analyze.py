"""From a video to its report: the only place where the stages meet."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np

from models.base import ModelInfo
from pipeline import added, curves, segments, signals, wording
from pipeline.candidates import Candidates, Told
from pipeline.decode import fallback
from pipeline.errors import CorruptVideo, Truncated
from pipeline.frames import Samples
from pipeline.looks import looks
from pipeline.media import Media
from pipeline.opened import Video
from pipeline.packets import PacketIndex
from pipeline.report import (
    DecodeReport,
    Features,
    LostRange,
    ModelUse,
    Notice,
    Report,
    Timings,
    VideoInfo,
)
from pipeline.rescore import pack, storable
from pipeline.sampling import choose, describe
from pipeline.scan import Scan, scan
from pipeline.spec import AnalysisSpec, check
from pipeline.stills import Reusing
from pipeline.toolkit import EMBEDDING, STATS, Toolkit
from pipeline.tracks import Track

#: With a larger share of the wanted frames lost than this, a report would mislead.
MAX_LOST_SHARE = 0.9

Progress = Callable[[str, int, int], None]
"""(stage, done, total), called from the event loop: `indexing`, `frames`, `analysing`, each from 0 on."""

Measured = Callable[[VideoInfo], Awaitable[object]]
"""Told what the video is."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """What is known before the first frame is decoded."""

    index: PacketIndex
    info: VideoInfo
    cut_off: LostRange | None
    wanted: np.ndarray
    index_s: float


@dataclass(frozen=True, slots=True)
class Analysed:
    """What came of a video."""

    report: Report
    looks: Track
    """What its sampled frames look like, whatever the model: for finding copies (`pipeline.looks`). Kept apart from the
    report, which is for people and for scoring again."""


async def analyze(
    path: Video,
    spec: AnalysisSpec,
    toolkit: Toolkit,
    progress: Progress = lambda stage, done, total: None,
    told: Told | None = None,
) -> Report:
    """The report alone; see `analyze_with_looks`."""
    return (await analyze_with_looks(path, spec, toolkit, progress, told)).report


async def analyze_with_looks(
    path: Video,
    spec: AnalysisSpec,
    toolkit: Toolkit,
    progress: Progress = lambda stage, done, total: None,
    told: Told | None = None,
    measured: Measured | None = None,
) -> Analysed:
    """Everything that `spec` asks for. Memory does not grow with the length of the video, but for the report's own.

    Args:
        told: of key segments of what has been seen so far, see `pipeline.candidates`.
        measured: awaited once it is known what the video is, before a frame is decoded; what it raises is raised.

    Raises:
        VideoError: the video or the request cannot be processed; see `pipeline.errors`.
    """
    check(spec)
    began = time.perf_counter()
    media = toolkit.open(path)
    progress("indexing", 0, 1)
    opened = await asyncio.to_thread(_open, media, spec)
    if measured is not None:
        await measured(opened.info)
    progress("indexing", 1, 1)
    text_vectors = functools.cache(lambda: wording.relevance_vectors(spec, toolkit))
    sound = asyncio.create_task(
        asyncio.to_thread(media.listen, start_s=opened.info.start_s, duration_s=opened.info.duration_s)
    )
    progress("frames", 0, len(opened.wanted))
    candidates = None
    if told is not None:
        candidates = Candidates(opened.index, spec.segments, text_vectors, sound, told)
    try:
        seen = await scan(
            media,
            opened.index,
            opened.wanted,
            Reusing(toolkit.engine) if spec.reuse else toolkit.engine,
            shots=spec.shots,
            progress=lambda done, total: progress("frames", done, total),
            candidates=candidates,
        )
        loudness, audio_notice = await sound
    finally:
        sound.cancel()
        if candidates is not None:
            await candidates.close()
    progress("analysing", 0, 1)
    _require_enough(opened, seen)

    analysed = time.perf_counter()
    samples = Samples(seen.pts_s, seen.arrays[EMBEDDING], seen.arrays[STATS])
    duration_s = opened.info.duration_s
    found_tags, tag_notices = await asyncio.to_thread(wording.found_tags, samples, spec, toolkit, duration_s)
    found_tags += added.found_tags(toolkit.added, seen.arrays, seen.pts_s, duration_s)
    shots = seen.shots
    cuts_s = np.array([shot.start_s for shot in shots[1:]])
    curve = signals.measure(
        opened.index, samples, loudness, cuts_s=cuts_s, flow=seen.flow, **await asyncio.to_thread(text_vectors)
    ).joined(lambda cells_s: added.signals(toolkit.added, seen.arrays, seen.pts_s, cells_s, cuts_s))
    chosen = await asyncio.to_thread(segments.choose, curve, shots, spec.segments, opened.info.duration_s)
    progress("analysing", 1, 1)
    finished = time.perf_counter()
    total_s = finished - began
    decoding = fallback.notices(seen.passed_on.elements(), toolkit.decoding.device)
    notices = [*toolkit.notices, *tag_notices, *decoding, *_decode_notices(opened, seen)]
    notices += toolkit.later()
    notices += added.notices(toolkit.added, seen.failed, spec, min(opened.info.width, opened.info.height))
    if audio_notice is not None:
        notices.append(audio_notice)
    report = Report(
        video=opened.info,
        decode=_decode_report(opened, seen, spec, toolkit),
        shots=shots,
        segments=segments.tagged(chosen, found_tags),
        tags=found_tags,
        models=(
            _model_use(spec.model, toolkit.encoder.info),
            *(_model_use(name, info) for name, info in toolkit.added.items()),
        ),
        timings=Timings(
            index_s=opened.index_s,
            decode_s=seen.decode_s,
            preprocess_s=seen.preprocess_s,
            infer_s=seen.infer_s,
            analyse_s=finished - analysed + seen.analyse_s,
            total_s=total_s,
            realtime_factor=opened.info.duration_s / total_s,
        ),
        warnings=tuple(notices),
        spec=spec,
        features=_features(curve, samples, toolkit),
    )
    return Analysed(report, Track(looks(samples.stats), samples.pts_s))


def _open(media: Media, spec: AnalysisSpec) -> _Opened:
    began = time.perf_counter()
    inspected = media.inspect()
    return _Opened(
        index=inspected.index,
        info=inspected.info,
        cut_off=inspected.cut_off,
        wanted=choose(inspected.index, spec.sampling),
        index_s=time.perf_counter() - began,
    )


def _require_enough(opened: _Opened, seen: Scan) -> None:
    lost = len(seen.missing) / len(opened.wanted)
    if len(seen.pts_s) == 0 or lost > MAX_LOST_SHARE:
        # Of a file that was cut off, what is there may end in the middle of everything.
        refusal = CorruptVideo if opened.cut_off is None else Truncated
        raise refusal(
            f"{opened.info.path}: {len(seen.missing)} of {len(opened.wanted)} wanted frames cannot be decoded; "
            f"too little is left for a report that would not mislead"
        )


def _decode_report(opened: _Opened, seen: Scan, spec: AnalysisSpec, toolkit: Toolkit) -> DecodeReport:
    lost = lost_ranges(opened.index, opened.wanted, seen.missing)
    if opened.cut_off is not None:
        lost = (*lost, opened.cut_off)
    return DecodeReport(
        backend=toolkit.decoding.name,
        reason=toolkit.decoding.reason,
        sampling=describe(spec.sampling),
        frames_total=opened.info.frames,
        frames_wanted=len(opened.wanted),
        frames_decoded=len(seen.pts_s),
        packets_fed=seen.packets,
        packets_fed_shots=seen.packets_shots,
        frames_reused=seen.reused,
        frames_lost=len(seen.missing) + (opened.cut_off.frames if opened.cut_off else 0),
        lost=lost,
    )


def lost_ranges(index: PacketIndex, wanted: np.ndarray, missing: np.ndarray) -> tuple[LostRange, ...]:
    """Stretches between the wanted frames that came out, in which none did."""
    order = wanted[np.argsort(index.pts[wanted], kind="stable")]
    times_s = np.append(index.times_s[order], index.duration_s)
    gone = np.isin(order, missing)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], gone.astype(np.int8), [0]))))
    return tuple(
        LostRange(
            start_s=float(times_s[first]),
            end_s=float(times_s[last]),
            frames=int(last - first),
            reason="damaged: the decoder gave no picture",
        )
        for first, last in zip(edges[::2], edges[1::2], strict=True)
    )


def _decode_notices(opened: _Opened, seen: Scan) -> list[Notice]:
    notices = []
    if opened.cut_off is not None:
        notices.append(
            Notice(
                code="truncated",
                message=f"the file is cut off: {opened.cut_off.end_s:.1f} s were promised, "
                f"{opened.info.duration_s:.1f} s are there; what is there was analysed",
            )
        )
    if seen.lost:
        notices.append(
            Notice(
                code="decoder_lost",
                message=f"{len(seen.lost)} times a decoder was lost and its work tried again: {seen.lost[0]}",
            )
        )
    if len(seen.missing):
        notices.append(
            Notice(
                code="frames_lost",
                message=f"{len(seen.missing)} of {len(opened.wanted)} wanted frames could not be decoded; "
                "decode.lost says where",
            )
        )
    return notices


def _model_use(asked: str, info: ModelInfo) -> ModelUse:
    return ModelUse(
        asked=asked,
        name=info.name,
        version=info.version,
        space=info.space,
        dim=info.dim,
        device=info.device,
        dtype=info.dtype,
        kind=info.kind,
        needs_space=info.needs.space,
    )


def _features(curve: curves.Curves, samples: Samples, toolkit: Toolkit) -> Features:
    return Features(
        pts_s=tuple(np.round(curve.pts_s, 6).tolist()),
        signals=storable(curve),
        embeddings=pack(samples.embeddings, samples.pts_s, toolkit.encoder.info.space),
    )
