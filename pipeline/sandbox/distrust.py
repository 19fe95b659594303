"""What a worker answers, checked before it is used: whoever made the video may be the one who speaks.

An answer has to be one that an honest worker could give: of the types, sizes and ranges that the rest of the program
counts on. Whether it is true of the video nobody can know here; a lie then costs the video it is about.
"""

import math
import unicodedata
from dataclasses import replace
from fractions import Fraction

import msgspec
import numpy as np

from pipeline.audio import BIN_S
from pipeline.clips import Clip, CodecParameters
from pipeline.decode.geometry import Geometry, sane_aspect
from pipeline.frames import Strip
from pipeline.limits import InputLimits
from pipeline.media import Inspected
from pipeline.packets import MAX_REORDER_DEPTH, MAX_SPAN_S, PacketIndex
from pipeline.plans import MAX_BYTES, ClipPlan
from pipeline.sandbox import wire
from pipeline.sandbox.protocol import Heard, Pictures
from pipeline.thumbs import THUMB_SIZE

_COLUMNS = {"pts": "<i8", "size": "<i4", "keyframe": "|b1", "entry": "|b1", "disposable": "|b1", "shown": "|b1"}

#: Bytes that a packet takes in an index, a little more than the columns together.
_INDEX_ROW = 24

#: Bytes that a packet takes on its way besides its own.
_PACKET_HEAD = 8

#: As `packets`: time stamps beyond this leave no room for arithmetic in 64 bits.
_MAX_STAMP = 1 << 61

#: Longest text of a worker's that is shown to people.
_MAX_TEXT = 500

#: Letters of a codec, its tag (one that is not of letters is written in brackets) or a pixel format; bits of a sample.
_MAX_NAME, _MAX_SAMPLE_BITS = 64, 1024

#: Pictures that a decoder holds back from earlier parts of a chain at most, and their thumbnails.
_HELD_BACK = 64


def one_line(text: str) -> str:
    """`text` without line breaks or control characters, cut to a length that a line can have."""
    tame = (" " if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} else char for char in text[:_MAX_TEXT])
    return "".join(tame) + ("..." if len(text) > _MAX_TEXT else "")


def inspected_bytes(limits: InputLimits) -> int:
    """How long an honest answer to `Inspect` can be."""
    return min(wire.MAX_BYTES, limits.max_packets * _INDEX_ROW + wire.MAX_HEAD)


def inspected(seen: Inspected, name: str, size_bytes: int, limits: InputLimits) -> Inspected:
    """`seen` under the name and with the size that the file has. Raises wire.Broken."""
    index, info, cut_off = seen.index, seen.info, seen.cut_off
    _require(_is_index(index, limits), "the packet index makes no sense")
    shape = index.codec.geometry
    _require(_is_geometry(shape, limits), "the shape of the picture makes no sense")
    _require(_is_codec(index.codec, limits) and index.codec.name == info.codec, "the codec makes no sense")
    _require((info.width, info.height) == shape.shown_size, "two sizes of one picture")
    _require(info.rotation_deg == shape.rotation_deg, "two rotations of one picture")
    _require(info.frames == int(index.shown.sum()), "two counts of the pictures")
    _require(_finite(info) and (info.audio is None or _finite(info.audio)), "a number is none")
    _require(cut_off is None or _finite(cut_off), "a number is none")
    return Inspected(index, msgspec.structs.replace(info, path=name, size_bytes=size_bytes), cut_off)


def _is_index(index: PacketIndex, limits: InputLimits) -> bool:
    columns = {name: getattr(index, name) for name in _COLUMNS}
    if any(column.dtype.str != _COLUMNS[name] or column.ndim != 1 for name, column in columns.items()):
        return False
    base = index.time_base
    if not (1 <= len(index) <= limits.max_packets and index.shown.any() and index.entry.any()):
        return False
    if not 0 < base < 1 << 32 or base.denominator >= 1 << 62:
        return False
    first, last = int(index.pts.min()), int(index.pts.max())
    return (
        max(abs(first), abs(last), abs(index.origin), abs(index.end)) < _MAX_STAMP
        and (last - first) * base <= MAX_SPAN_S
        and int(index.pts[index.shown].min()) == index.origin <= index.end
        and (index.end - index.origin) * base <= Fraction(limits.max_duration_s)
        and int(index.size.min()) >= 1
        and not index.shown[: int(np.argmax(index.entry))].any()
    )


def _is_codec(codec: CodecParameters, limits: InputLimits) -> bool:
    """Whether a decoder could be told so: numbers of ITU-T H.273 have 8 bits, names are short."""
    colours = (codec.color_range, codec.color_primaries, codec.color_trc, codec.colorspace)
    texts = (codec.name, codec.tag, codec.pixel_format or "")
    return (
        0 < codec.peak_nits < math.inf
        and min(codec.width, codec.height) >= 0
        and codec.width * codec.height <= limits.max_pixels
        and 0 <= codec.reorder_depth <= MAX_REORDER_DEPTH
        and 0 <= codec.bits_per_coded_sample <= _MAX_SAMPLE_BITS
        and all(0 <= value <= 255 for value in colours)
        and all(len(text) <= _MAX_NAME for text in texts)
    )


def _is_geometry(shape: Geometry, limits: InputLimits) -> bool:
    return (
        min(shape.width, shape.height) >= 1
        and shape.rotation_deg in (0, 90, 180, 270)
        and sane_aspect(*shape.pixel_aspect) == shape.pixel_aspect
        and math.prod(shape.shown_size) <= limits.max_pixels
    )


def packets_bytes(plan: ClipPlan, index: PacketIndex) -> int:
    """How long the packets of `plan` can be together."""
    size = int(index.size[plan.rows].sum(dtype=np.int64)) + len(plan.rows) * _PACKET_HEAD + wire.MAX_HEAD
    return min(size, wire.MAX_BYTES, MAX_BYTES * 4)


def packets(given: tuple[bytes, ...], plan: ClipPlan, index: PacketIndex) -> tuple[bytes, ...]:
    """`given`, found to be as many and as long as those of the plan. Raises wire.Broken."""
    _require([*map(len, given)] == index.size[plan.rows].tolist(), "not the packets of the plan")
    return given


def pictures_bytes(clip: Clip) -> int:
    """How long an honest answer to `Decode` can be: thumbnails, mostly."""
    width, height = THUMB_SIZE
    return min(wire.MAX_BYTES, (len(clip.packets) + _HELD_BACK) * (width * height * 3 + 16) + wire.MAX_HEAD)


def pictures(answer: Pictures, clip: Clip, room: int) -> Pictures:
    """`answer`, whose pixels lie in `room` bytes. Raises wire.Broken."""
    count = len(answer.rows)
    width, height = clip.size or clip.codec.geometry.square_size
    if clip.codec.geometry.rotation_deg % 180:
        width, height = height, width
    if count == 0:
        answer = replace(answer, width=width, height=height)
    _require((answer.width, answer.height) == (width, height), "pictures of another size than the video's")
    _require(count * width * height * 3 <= room, "more pictures than there is room for")
    _require(len(set(answer.rows)) == count, "one picture twice")
    # Parts of a chain may hand out what was wanted of the parts before.
    _require(clip.part > 0 or set(answer.rows) <= set(clip.wanted), "pictures that nobody asked for")
    _require(_are_times(answer.pts_s, count), "times that make no sense")
    _require(answer.strip is None or _is_strip(answer.strip, clip), "thumbnails that make no sense")
    return answer


def _is_strip(strip: Strip, clip: Clip) -> bool:
    width, height = THUMB_SIZE
    return (
        clip.glimpse
        and len(strip) <= len(clip.packets) + _HELD_BACK
        and strip.thumbs.dtype == np.uint8
        and strip.thumbs.shape == (len(strip), height, width, 3)
        and _are_times(strip.pts_s, len(strip))
    )


def _are_times(pts_s: np.ndarray, count: int) -> bool:
    return (
        pts_s.dtype.str == "<f8"
        and pts_s.shape == (count,)
        and bool(np.isfinite(pts_s).all())
        and bool((np.diff(pts_s) >= 0).all())
    )


def heard_bytes(duration_s: float) -> int:
    """How long an honest answer to `Listen` can be."""
    return wire.MAX_HEAD + 8 * (math.ceil(duration_s / BIN_S) + 2)


def heard(answer: Heard, duration_s: float) -> Heard:
    """`answer` with a message that is one line. Raises wire.Broken."""
    sound, notice = answer.loudness, answer.notice
    if sound is not None:
        bins = max(1, math.ceil(duration_s / BIN_S))
        _require(sound.bin_s == BIN_S, "another length of bins")
        for curve in (sound.rms, sound.onset):
            _require(curve.dtype.str == "<f4" and curve.shape == (bins,), "a curve of another length")
            _require(bool((np.isfinite(curve) & (curve >= 0)).all()), "a loudness that is none")
    if notice is not None:
        _require(notice.code in ("audio_unreadable", "audio_damaged"), "a notice about something else")
        notice = msgspec.structs.replace(notice, message=one_line(notice.message))
    return Heard(loudness=sound, notice=notice)


def _finite(record: msgspec.Struct) -> bool:
    """Whether all its numbers are numbers, and its texts such as a report can hold."""
    values = [getattr(record, name) for name in record.__struct_fields__]
    return all(math.isfinite(value) for value in values if isinstance(value, float)) and all(
        value == one_line(value)
        for name, value in zip(record.__struct_fields__, values, strict=True)
        if isinstance(value, str) and name != "path"
    )


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise wire.Broken(what)
