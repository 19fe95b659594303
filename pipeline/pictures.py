"""Small JPEG pictures of given moments, for a page or a list."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.decode.base import Decoder
from pipeline.errors import DecoderCrashed, DecoderStateLost, DecodeTimeout
from pipeline.media import Inspected, Media
from pipeline.plans import plan

#: Longer side of a picture, pixels, and its JPEG quality: about 6 kB each.
LONG_SIDE = 320
QUALITY = 72


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG of one moment."""

    time_s: float
    """The moment that was asked for, seconds on the video's time line."""
    jpeg: bytes
    """A whole JPEG file."""


def pictures(media: Media, decoder: Decoder, inspected: Inspected, times_s: Sequence[float]) -> tuple[Picture, ...]:
    """The frames on screen at `times_s`; moments whose frame cannot be decoded are left out.

    Raises:
        VideoError: as `Media.clips` and `Decoder.decode`.
    """
    if not len(times_s):
        return ()
    index, info = inspected.index, inspected.info
    order = index.display_order
    shown_s = index.times_s[order]
    place = np.maximum(np.searchsorted(shown_s, np.asarray(times_s) + 1e-3, side="right") - 1, 0)
    rows = order[place]
    scale = LONG_SIDE / max(info.width, info.height)
    width, height = max(2, round(info.width * scale)), max(2, round(info.height * scale))
    size = (height, width) if info.rotation_deg % 180 else (width, height)
    found: dict[int, bytes] = {}
    plans = plan(index, np.unique(rows))
    for clip in media.clips(index, plans, size=size):
        try:
            decoded = decoder.decode(clip)
        except (DecoderCrashed, DecodeTimeout, DecoderStateLost):
            continue
        for row, pixels in zip(decoded.rows, decoded.frames.pixels, strict=True):
            found[row] = _jpeg(pixels)
    return tuple(
        Picture(float(time_s), found[row]) for time_s, row in zip(times_s, rows.tolist(), strict=True) if row in found
    )


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()
