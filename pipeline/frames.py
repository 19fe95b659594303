"""What passes between the stages inside a process: arrays with their times, frozen, checked when they are made."""

from dataclasses import dataclass, field, replace

import numpy as np

from models.base import Pixels


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """Decoded frames of one Clip, in time order."""

    pixels: Pixels
    """uint8 [N, H, W, 3] RGB, upright, on the device that decoded them."""
    pts_s: np.ndarray
    """float64 [N], seconds on the video's time line, ascending."""

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.shape[-1] != 3 or len(self.pixels) != len(self.pts_s):
            raise ValueError(f"pixels {tuple(self.pixels.shape)} must be [N, H, W, 3] with N = {len(self.pts_s)}")

    def __len__(self) -> int:
        return len(self.pts_s)

    def __repr__(self) -> str:
        return f"FrameBatch(pixels={tuple(self.pixels.shape)}, pts_s={self.pts_s[:1]}..{self.pts_s[-1:]})"


@dataclass(frozen=True, slots=True)
class Strip:
    """Tiny pictures of consecutive frames, for finding where a picture changes."""

    pts_s: np.ndarray
    """float64 [N], seconds, ascending."""
    thumbs: np.ndarray
    """uint8 [N, h, w, 3] RGB, area-averaged."""

    def __post_init__(self) -> None:
        if self.thumbs.ndim != 4 or len(self.thumbs) != len(self.pts_s):
            raise ValueError(f"thumbs {self.thumbs.shape} must be [N, h, w, 3] with N = {len(self.pts_s)}")

    def __len__(self) -> int:
        return len(self.pts_s)

    def __repr__(self) -> str:
        return f"Strip(thumbs={self.thumbs.shape}, pts_s={self.pts_s[:1]}..{self.pts_s[-1:]})"


@dataclass(frozen=True, slots=True)
class Samples:
    """Everything that was measured on the sampled frames of one video; what the analysis works on."""

    pts_s: np.ndarray
    """float64 [N], seconds, ascending."""
    embeddings: np.ndarray
    """float32 [N, D], L2-normalised rows in the space of `ModelInfo.space`."""
    stats: np.ndarray
    """float32 [N, len(models.frame_stats.COLUMNS)], see there."""

    def __post_init__(self) -> None:
        if not (len(self.pts_s) == len(self.embeddings) == len(self.stats)):
            raise ValueError(f"{len(self.pts_s) = }, {len(self.embeddings) = } and {len(self.stats) = } must agree")

    def __repr__(self) -> str:
        return f"Samples(N={len(self.pts_s)}, embeddings={self.embeddings.shape}, stats={self.stats.shape})"


@dataclass(frozen=True, slots=True)
class Loudness:
    """The sound of a video, in short bins."""

    bin_s: float
    """Length of a bin, seconds."""
    rms: np.ndarray
    """float32 [B], root mean square of the samples in [-1, 1], all channels."""
    onset: np.ndarray
    """float32 [B], how much energy rose against the bins before (half-wave rectified spectral flux), 0 or more."""


@dataclass(frozen=True, slots=True)
class PassedOn:
    """A decoder that should have decoded a Clip, before the one that did."""

    decoder: str
    reason: str
    tried: bool
    """Whether it failed at the Clip; False where it did not take it."""


@dataclass(frozen=True, slots=True)
class Failed:
    """What an added model came to nothing at."""

    frames: int
    """How many it should have looked at."""
    reason: str
    """The first time."""


@dataclass(frozen=True, slots=True)
class ClipOutput:
    """What an engine made of one Clip: small arrays, no pixels of full size."""

    chain: int
    part: int
    rows: tuple[int, ...]
    """Rows of the packet index of the wanted frames that came out, in time order."""
    pts_s: np.ndarray
    """float64 [N], their times, seconds."""
    arrays: dict[str, np.ndarray]
    """Model name -> float32 [N, D]."""
    strip: Strip | None
    """Thumbnails, where the Clip asked for a glimpse."""
    packets: int
    """Packets that the decoder was fed."""
    decode_s: float
    preprocess_s: float
    infer_s: float
    """Seconds of work on this Clip's behalf; a batch shared with other Clips is split by its frames."""
    lost: str | None = None
    """Why nothing came of the Clip, where its decoder was lost: it crashed, hung, or never saw the parts before."""
    decoder: str = ""
    """Which decoder it was that decoded it."""
    passed_on: tuple[PassedOn, ...] = ()
    """Those that came before it, in order."""
    reused: int = 0
    """Frames whose rows are those of a frame before them that looks the same, see `Clip.reuse`."""
    failed: dict[str, str] = field(default_factory=dict)
    """Model without which the report can do -> why it has no rows here."""

    def __post_init__(self) -> None:
        for name, array in self.arrays.items():
            if len(array) != len(self.rows):
                raise ValueError(f"model {name} gave {len(array)} rows for {len(self.rows)} frames")


def kept(output: ClipOutput) -> ClipOutput:
    """The same with memory of its own for all but the thumbnails, which are gone before the rest is: arrays of an
    output that came as bytes all lie in those."""
    arrays = {name: rows.copy() for name, rows in output.arrays.items()}
    return replace(output, pts_s=output.pts_s.copy(), arrays=arrays)
