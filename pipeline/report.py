"""What the caller gets: one frozen, versioned record per video. Times are seconds on the video's own time line,
whose zero is the first shown frame; every insight has a time range, a score in [0, 1] and the source that claims it.

The JSON schema is committed as `docs/report.schema.json`; `python -m pipeline.schema` writes it.
"""

from typing import Literal

from pipeline.record import Record
from pipeline.spec import AnalysisSpec

REPORT_VERSION = "1"


class Source(Record, frozen=True, kw_only=True):
    """Who claims an insight."""

    name: str
    """A model's name, or the pipeline function, for example `pipeline.shots`."""
    version: str
    """The model's space, or the version of the algorithm."""


class AudioInfo(Record, frozen=True, kw_only=True):
    codec: str
    sample_rate_hz: int
    channels: int
    duration_s: float


class VideoInfo(Record, frozen=True, kw_only=True):
    """What the file is, read from its bytes and never from its name."""

    path: str
    """The file as the caller named it; not trusted for anything."""
    size_bytes: int
    container: str
    """FFmpeg's demuxer name, for example `mov,mp4,m4a,3gp,3g2,mj2`."""
    codec: str
    profile: str | None = None
    pixel_format: str | None = None
    bit_depth: int | None = None
    duration_s: float
    """End of the last shown frame minus start of the first, from the packets."""
    start_s: float
    """Presentation time of the first shown frame in the container's own clock."""
    width: int
    """Shown width in pixels, after rotation and pixel aspect."""
    height: int
    """Shown height in pixels, after rotation and pixel aspect."""
    coded_width: int
    coded_height: int
    rotation_deg: int
    """Clockwise rotation that the player applies: 0, 90, 180 or 270."""
    mirrored: bool = False
    """Whether the player swaps left and right, before rotating."""
    pixel_aspect: float
    """Width of a pixel over its height; 1.0 is square."""
    average_fps: float
    nominal_fps: float | None = None
    """The rate that the container claims, where it claims one."""
    variable_rate: bool
    frames: int
    """Shown frames, counted from the packets."""
    keyframes: int
    bit_rate_bps: int | None = None
    hdr: Literal["hdr10", "hlg"] | None = None
    color_primaries: str | None = None
    color_transfer: str | None = None
    color_space: str | None = None
    color_range: str | None = None
    audio: AudioInfo | None = None


class LostRange(Record, frozen=True, kw_only=True):
    """A stretch of which nothing could be decoded."""

    start_s: float
    end_s: float
    frames: int
    reason: str


class DecodeReport(Record, frozen=True, kw_only=True):
    """How the frames were had, and what could not be had."""

    backend: str
    reason: str
    """Why this backend and this plan."""
    sampling: str
    """The policy as it was applied, for example `uniform 1 fps`."""
    frames_total: int
    """Shown frames in the file."""
    frames_wanted: int
    frames_decoded: int
    """Wanted frames that came out."""
    packets_fed: int
    """Packets that a decoder was given for the wanted frames; those of shot refinement apart."""
    packets_fed_shots: int = 0
    frames_lost: int = 0
    frames_reused: int = 0
    """Decoded frames that look as the one before and were taken for it, where the request allows that."""
    lost: tuple[LostRange, ...] = ()


class Shot(Record, frozen=True, kw_only=True):
    """An unbroken take. The first starts at 0, the last ends at the duration; they leave no gap."""

    start_s: float
    end_s: float
    score: float
    """Confidence that a shot begins at `start_s`; 1 for the first."""
    transition: Literal["start", "cut", "dissolve", "fade"]
    """How the shot begins. A gradual one is placed at the middle of its transition."""
    transition_s: float = 0.0
    """Length of the transition; 0 for a cut."""
    source: Source


class Segment(Record, frozen=True, kw_only=True):
    """A stretch worth showing, and why."""

    start_s: float
    end_s: float
    score: float
    """Weighted mean of the signals, in [0, 1]."""
    signals: dict[str, float]
    """Contribution of each signal to the score; they add up to it."""
    reasons: tuple[str, ...]
    """The same in words, strongest first."""
    tags: tuple[str, ...] = ()
    thumbnail_s: float
    source: Source


class TagRange(Record, frozen=True, kw_only=True):
    """A stretch in which a label holds."""

    start_s: float
    end_s: float
    score: float


class Tag(Record, frozen=True, kw_only=True):
    """A label that holds somewhere in the video, or a category drawn from such labels."""

    kind: Literal["tag", "category"] = "tag"
    label: str
    parent: str | None = None
    score: float
    """Probability that the label is present at its best moment."""
    coverage: float
    """Share of the video in which it holds, 0 to 1."""
    start_s: float
    end_s: float
    ranges: tuple[TagRange, ...]
    source: Source


class ModelUse(Record, frozen=True, kw_only=True):
    """A model that contributed, and the space its vectors live in."""

    asked: str | None = None
    """The name that it was asked for by, which its signals have; None in older reports."""
    name: str
    version: str
    space: str
    dim: int
    device: str
    dtype: str
    kind: Literal["embedding", "measurement", "scores"] = "embedding"
    """`embedding`: a vector of that space for each frame. `scores`: a probability for each label. `measurement`:
    columns with units of their own, which the report does not use."""
    needs_space: str | None = None
    """Of a head: the space of the vectors that it read instead of frames."""


class Timings(Record, frozen=True, kw_only=True):
    """Seconds of work by stage. Stages overlap, so they may add up to more than `total_s`."""

    index_s: float
    decode_s: float
    preprocess_s: float
    infer_s: float
    analyse_s: float
    total_s: float
    """Wall time from opening the file to the finished report; loading the model apart."""
    realtime_factor: float
    """Seconds of video per second of wall time."""


class Notice(Record, frozen=True, kw_only=True):
    """Something the caller should know though the job succeeded."""

    code: str
    message: str


class Embeddings(Record, frozen=True, kw_only=True):
    """The vectors of the sampled frames, kept so that new prompts and labels need no decode."""

    space: str
    dim: int
    pts_s: tuple[float, ...]
    """Times of the N sampled frames, seconds; the signals have a finer grid of their own."""
    float16_base64: str
    """[N, dim] little-endian IEEE half precision, row-major, base64."""


class Features(Record, frozen=True, kw_only=True):
    """What was measured: enough to score again without decoding."""

    pts_s: tuple[float, ...]
    """Centres of the equal cells that the signals are given for, seconds."""
    signals: dict[str, tuple[float, ...]]
    """Name -> one value in [0, 1] per cell, normalised inside the video."""
    embeddings: Embeddings | None = None


class Report(Record, frozen=True, kw_only=True):
    """Everything that was found in one video."""

    version: str = REPORT_VERSION
    video: VideoInfo
    decode: DecodeReport
    shots: tuple[Shot, ...]
    segments: tuple[Segment, ...]
    tags: tuple[Tag, ...]
    models: tuple[ModelUse, ...]
    timings: Timings
    warnings: tuple[Notice, ...]
    spec: AnalysisSpec
    """What was asked, so that a report can be scored again."""
    features: Features
