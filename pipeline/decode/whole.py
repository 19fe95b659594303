"""What decoders that want a file have in common: which Clips they take, and how their pictures become frames."""

import math
import time
from collections.abc import Mapping

import numpy as np

from models.base import Pixels
from pipeline import clip_file
from pipeline.bitstream import classifier, is_idr, length_prefix
from pipeline.clips import Clip
from pipeline.decode.base import COUNTERS, Decoded
from pipeline.decode.geometry import Geometry
from pipeline.errors import DecodeFailed
from pipeline.frames import FrameBatch, Strip

#: What looks as it does for PyAV when another library makes RGB of it: YUV with colour, without transparency.
_PIXEL_FORMATS = frozenset(
    f"{family}{depth}" for family in ("yuv420p", "yuv422p", "yuv444p") for depth in ("", "10le", "12le")
) | {"yuvj420p", "yuvj422p", "yuvj444p"}

#: Transfer curves (PQ, HLG) and primaries (BT.2020, P3) that are mapped to those of a usual screen; FFmpeg's numbers.
_MAPPED_CURVES, _MAPPED_PRIMARIES = (16, 18), (9, 12)


def refusal(clip: Clip, *, strips: bool = False) -> str | None:
    """Why a decoder of files does not take this Clip, or None. `strips`: whether it makes strips of thumbnails."""
    codec = clip.codec
    if not clip.wanted:
        return "no picture is wanted at full size"
    if clip.glimpse and not strips:
        return "thumbnails of passing pictures are asked for"
    if clip.size is not None:
        return "pictures are to be scaled while decoding"
    if codec.color_trc in _MAPPED_CURVES or codec.color_primaries in _MAPPED_PRIMARIES:
        return "its colours are mapped from a high dynamic range or a wide gamut"
    if codec.pixel_format not in _PIXEL_FORMATS:
        return f"pictures of format {codec.pixel_format}"
    if codec.interlaced:
        return "interlaced"
    if codec.geometry.pixel_aspect != (1, 1):
        return "its pixels are not square"
    return clip_file.refusal(clip)


def refusal_by_rank(clip: Clip) -> str | None:
    """Why a decoder that does not say which picture it hands out does not take this Clip, or None.

    Such a decoder's pictures are told apart by counting them in display order. That needs a picture from every packet,
    in an order known beforehand, and no state that a gap in the packets could upset.
    """
    if any(map(math.isnan, clip.times_s)):
        return "some packets show no picture, so that pictures cannot be told apart by counting"
    codec = clip.codec
    in_order = clip.ranks == tuple(range(len(clip.ranks)))
    if codec.reorder_depth and in_order and len(clip.packets) > 1:
        # True display times of reordered pictures are rarely in decode order; missing ones, made up, always are.
        return "its times may be those of decoding, so that pictures cannot be told apart by counting"
    prefix = length_prefix(codec.name, codec.extradata)
    if codec.name == "mpeg4":
        traits_of = classifier(codec.name)
        if any(traits_of(memoryview(packet), prefix, False).packed for packet in clip.packets):
            return "several pictures in one packet, so that they cannot be told apart by counting"
    for at in clip.flush_at:
        if min(clip.ranks[at:]) < clip.ranks[at]:
            return "pictures after a gap refer to what was left out, so that some will not come out"
        if codec.name == "h264" and not is_idr(clip.packets[at], prefix):
            return "a gap before a picture that is no IDR, which only a decoder told of the gap gets right"
    return None


def frames_of(
    clip: Clip, found: Mapping[int, int], pixels: Pixels, began: float, strip: Strip | None = None
) -> Decoded:
    """The decoder's answer from pictures of which the rows are known.

    Args:
        found: wanted row -> its place in `pixels`; what is absent did not come out.
        pixels: uint8 [N, H, W, 3] RGB as the decoder gave them, not yet upright.
        began: `time.perf_counter()` at the start of the decode.

    Raises:
        DecodeFailed: the pictures are not of the size that the Clip says.
    """
    geometry = clip.codec.geometry
    if len(pixels) and tuple(pixels.shape[1:3]) != (geometry.height, geometry.width):
        size = f"{pixels.shape[2]}x{pixels.shape[1]}"
        raise DecodeFailed(f"pictures of {size} came out, not of {geometry.width}x{geometry.height}")
    time_of = dict(zip(clip.rows, clip.times_s, strict=True))
    rows = sorted(found, key=lambda row: (time_of[row], row))
    places = [found[row] for row in rows]
    chosen = pixels if places == list(range(len(pixels))) else pixels[places]
    COUNTERS.add(packets=len(clip.packets), frames=len(rows))
    return Decoded(
        frames=FrameBatch(_upright(chosen, geometry), np.array([time_of[row] for row in rows])),
        rows=tuple(rows),
        strip=strip,
        decode_s=time.perf_counter() - began,
    )


def _upright(pixels: Pixels, geometry: Geometry) -> Pixels:
    """Like `pipeline.decode.geometry.upright`, a batch at a time and on any device."""
    turns = -(geometry.rotation_deg // 90) % 4
    if isinstance(pixels, np.ndarray):
        pixels = pixels[:, :, ::-1] if geometry.mirrored else pixels
        return np.rot90(pixels, turns, axes=(1, 2)) if turns else pixels
    pixels = pixels.flip(2) if geometry.mirrored else pixels
    return pixels.rot90(turns, (1, 2)) if turns else pixels
