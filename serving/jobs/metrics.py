"""What a job cost, and what did it."""

from typing import Literal

from pipeline.record import Record
from pipeline.report import Report


class Metrics(Record, frozen=True, kw_only=True):
    """How a job that succeeded came about: its last attempt, seconds of wall time where nothing else is said."""

    run_s: float
    """From its claim to its report."""
    queued_s: float
    """How long it waited for a worker since it was due."""
    decode_s: float
    """Seconds of work in decoders, on all cores; 0 where features were shared."""
    infer_s: float
    """Seconds of work in models, likewise."""
    frames: int
    """Frames that models saw in this job or an earlier attempt; 0 where features were shared."""
    video_s: float
    """Length of the video."""
    realtime_factor: float
    """Seconds of video a second of `run_s`."""
    clips_reused: int
    """Clips that an earlier attempt had finished."""
    features: Literal["computed", "shared"]
    """Whether the frames were looked at, or another job of the same features had done so."""
    decoder: str
    """What decoded the frames."""
    device: str
    """Where the model ran."""
    model: str
    """Its name."""


def of(report: Report, *, run_s: float, queued_s: float, clips_reused: int, shared: bool) -> Metrics:
    """Of a job with this report; `shared`: its features are another job's."""
    video_s = report.video.duration_s
    return Metrics(
        run_s=round(run_s, 3),
        queued_s=round(queued_s, 3),
        decode_s=0.0 if shared else round(report.timings.decode_s, 3),
        infer_s=0.0 if shared else round(report.timings.infer_s, 3),
        frames=0 if shared else report.decode.frames_decoded,
        video_s=round(video_s, 3),
        realtime_factor=round(video_s / max(run_s, 1e-3), 2),
        clips_reused=clips_reused,
        features="shared" if shared else "computed",
        decoder=report.decode.backend,
        device=report.models[0].device if report.models else "",
        model=report.models[0].name if report.models else "",
    )
