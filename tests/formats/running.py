"""Takes a file through the pipeline's front door and says what came out, against what is known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.cutting import cut
from pipeline.decode.base import Decoder
from pipeline.decode.pyav import PyAVDecoder
from pipeline.errors import VideoError
from pipeline.packets import PacketIndex, read_index
from pipeline.plans import plan
from pipeline.probe import probe
from pipeline.sampling import choose
from pipeline.spec import Sampling
from tests.formats.chart import psnr
from tests.formats.writing import Known

#: Decoders that the matrix is run with, by name.
DECODERS: dict[str, Callable[[], Decoder]] = {"pyav": PyAVDecoder}

EQUAL = "equal"

#: How far a frame's time may be from the known one, seconds.
_TOLERANCE_S = 1e-3


def outcome(path: Path, known: Known | None, bound_db: float, decoder: Decoder) -> str:
    """`equal`, `refused (code)`, or what is wrong."""
    try:
        index = read_index(path)
        info = probe(path, index)
        sampled = _decoded(path, index, choose(index, Sampling(fps=6)), decoder)
        every = _decoded(path, index, index.display_order, decoder)
    except VideoError as error:
        return f"refused ({error.code})"
    if known is None:
        return f"{len(every)} pictures came out of what holds no video"
    if len(every) != len(known.frames):
        return f"{len(every)} of {len(known.frames)} pictures came out, {len(index.display_order)} are shown"
    for at_s, pixels in (*sampled, *every):
        nearest = int(np.argmin(np.abs(np.array(known.times_s) - at_s)))
        if abs(known.times_s[nearest] - at_s) > _TOLERANCE_S:
            return f"a picture at {at_s:.4f} s, the nearest known one is at {known.times_s[nearest]:.4f} s"
        right = known.frames[nearest]
        if pixels.shape != right.shape:
            return f"a picture of {pixels.shape} instead of {right.shape}"
        if (info.width, info.height) != (pixels.shape[1], pixels.shape[0]):
            return f"said to be {info.width}x{info.height}, but {pixels.shape[1]}x{pixels.shape[0]} came out"
        if (ratio := psnr(pixels, right)) < bound_db:
            return f"the picture at {at_s:.3f} s is at {ratio:.1f} dB"
    return EQUAL


def _decoded(path: Path, index: PacketIndex, wanted: np.ndarray, decoder: Decoder) -> list[tuple[float, np.ndarray]]:
    found: list[tuple[float, np.ndarray]] = []
    for clip in cut(path, index, plan(index, wanted)):
        frames = decoder.decode(clip).frames
        found += zip(frames.pts_s.tolist(), np.asarray(frames.pixels), strict=True)
    return found
