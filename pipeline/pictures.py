"""Pictures of given moments, made small: for pages and lists, and for whoever asks for one."""

import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from pipeline.decode.base import Decoder
from pipeline.errors import DecoderCrashed, DecoderStateLost, DecodeTimeout
from pipeline.media import Inspected, Media
from pipeline.packets import PacketIndex
from pipeline.plans import plan
from pipeline.report import VideoInfo

#: Longer side of a picture on a page, pixels, and its JPEG quality: about 6 kB each.
LONG_SIDE = 320
QUALITY = 72

#: Least pixels of either side: codecs halve their colours.
_LEAST = 2

Kind = Literal["jpeg", "webp"]
"""What a picture may be written as."""


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
    found: dict[int, bytes] = {}
    for row, pixels in frames(media, decoder, index, rows, within(info, LONG_SIDE)):
        found[row] = encoded(pixels, "jpeg", QUALITY)
    return tuple(
        Picture(float(time_s), found[row]) for time_s, row in zip(times_s, rows.tolist(), strict=True) if row in found
    )


def frames(
    media: Media,
    decoder: Decoder,
    index: PacketIndex,
    rows: Sequence[int] | np.ndarray,
    size: tuple[int, int],
    *,
    until: float | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Rows of the index and their frames, uint8 [H, W, 3] RGB, upright, in decode order; only the packets that they
    need are read. Frames that cannot be decoded are left out. A frame is there until the next one is asked for.

    Args:
        size: (width, height) as shown.
        until: when somebody stops waiting, by `time.monotonic`; None: nobody does.

    Raises:
        DecodeTimeout: it is that late, or one Clip took too long while somebody waits.
        VideoError: as `Media.clips` and `Decoder.decode`, save where a Clip alone is lost and nobody waits.
    """
    turned = index.codec.geometry.rotation_deg % 180
    coded = size[::-1] if turned else size
    for clip in media.clips(index, plan(index, np.unique(np.asarray(rows, np.int64))), size=coded):
        if until is not None and time.monotonic() > until:
            raise DecodeTimeout("it takes longer to decode than somebody waits for a picture (pictures.timeout_s)")
        try:
            decoded = decoder.decode(clip)
        except (DecoderCrashed, DecodeTimeout, DecoderStateLost):
            if until is not None:
                raise
            continue
        yield from zip(decoded.rows, decoded.frames.pixels, strict=True)


def within(info: VideoInfo, long_side: int) -> tuple[int, int]:
    """(width, height) as shown, of this longer side."""
    return _scaled(info, long_side / max(info.width, info.height))


def at_most(info: VideoInfo, long_side: int) -> tuple[int, int]:
    """The same, but no larger than the video is."""
    return _scaled(info, min(1.0, long_side / max(info.width, info.height)))


def as_wide(info: VideoInfo, width: int) -> tuple[int, int]:
    """(width, height) as shown, of this width, but no larger than the video is."""
    return _scaled(info, min(1.0, width / info.width))


def _scaled(info: VideoInfo, scale: float) -> tuple[int, int]:
    return max(_LEAST, round(info.width * scale)), max(_LEAST, round(info.height * scale))


def encoded(pixels: np.ndarray, kind: Kind, quality: int) -> bytes:
    """A whole file of a picture, uint8 [H, W, 3] RGB. `quality`: 1 to 100, of either kind."""
    buffer = io.BytesIO()
    # WebP's longer searches take several times as long, and save a tenth.
    how = {"optimize": True} if kind == "jpeg" else {"method": 2}
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, kind, quality=quality, **how)
    return buffer.getvalue()
