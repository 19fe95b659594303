"""What a compressed picture says of itself in its first bytes: enough to know which packets may be left out.

Container flags are not enough: a keyframe flag is not always a clean entry point (gradual refresh, open GOPs), and
most containers do not say which pictures nobody refers to. Sources: ITU-T H.264 (7.3, 7.4.1), H.265 (7.3.1, 7.4.2.2),
H.262 (6.2), ISO/IEC 14496-2 (6.2.5), RFC 6386 (9.1), the VP9 bitstream specification (6.2).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple


class Traits(NamedTuple):
    """What one packet holds."""

    entry: bool
    """Decoding can start here, and all that is shown later than this picture comes out right."""
    disposable: bool = False
    """No other picture refers to it."""
    hidden: bool = False
    """It shows no picture."""
    skipped_at_start: bool = False
    """Shown before its entry point and undecodable when decoding starts there: a decoder leaves it out."""
    layer: int = 0
    """Temporal layer (HEVC): a picture that its own layer does not refer to is disposable in the top layer only."""
    packed: bool = False
    """Several pictures in one packet, the later ones shown with the next packet (MPEG-4 "packed B-frames")."""


Classifier = Callable[[memoryview, int, bool], Traits]
"""(packet, bytes of a NAL length prefix or 0 for start codes, container's keyframe flag) -> Traits"""


def _plain(data: memoryview, prefix: int, keyframe: bool) -> Traits:
    return Traits(entry=keyframe)


def _nals(data: memoryview, prefix: int) -> Iterator[memoryview]:
    """NAL units of a packet, without their prefixes."""
    if prefix:
        at = 0
        while at + prefix < len(data):
            size = int.from_bytes(data[at : at + prefix], "big")
            at += prefix
            yield data[at : at + size]
            at += size
        return
    raw = bytes(data)
    at = raw.find(b"\x00\x00\x01")
    while at >= 0:
        yield data[at + 3 :]
        at = raw.find(b"\x00\x00\x01", at + 3)


def _exp_golomb(data: bytes, bit: int) -> tuple[int, int]:
    """An unsigned Exp-Golomb code at `bit` -> (value, next bit). Reads zeros past the end."""
    length = len(data) * 8
    rest = int.from_bytes(data, "big") & ((1 << (length - bit)) - 1)
    zeros = length - bit - rest.bit_length()
    end = bit + 2 * zeros + 1
    if end > length:
        return 0, length
    return (rest >> (length - end)) - 1, end


def _recovery_frames(sei: bytes) -> int | None:
    """recovery_frame_cnt of a recovery point message in an SEI unit, or None where it has none."""
    at = 1
    while at + 2 < len(sei):
        kind = size = 0
        while at < len(sei) and sei[at] == 0xFF:
            kind, at = kind + 255, at + 1
        kind, at = kind + (sei[at] if at < len(sei) else 0), at + 1
        while at < len(sei) and sei[at] == 0xFF:
            size, at = size + 255, at + 1
        size, at = size + (sei[at] if at < len(sei) else 0), at + 1
        if kind == 6:
            return _exp_golomb(sei[at : at + 8], 0)[0]
        at += size
    return None


def _h264(data: memoryview, prefix: int, keyframe: bool) -> Traits:
    recovery = None
    slice_head: bytes | None = None
    referred = False
    for nal in _nals(data, prefix):
        if not nal:
            continue
        kind, importance = nal[0] & 31, nal[0] >> 5 & 3
        if kind == 5:
            return Traits(entry=True)
        if kind == 6 and recovery is None:
            recovery = _recovery_frames(bytes(nal[:512]))
        if kind in (1, 2):
            slice_head = slice_head or bytes(nal[1:9])
            referred = referred or importance > 0
            if referred:
                break
    if slice_head is None:
        return Traits(entry=False, hidden=True)
    intra = _exp_golomb(slice_head, _exp_golomb(slice_head, 0)[1])[0] in (2, 7)
    # An intra picture that is no IDR is clean only where the encoder promises it: a recovery point at this very frame.
    return Traits(entry=intra and recovery == 0, disposable=not referred)


def _hevc(data: memoryview, prefix: int, keyframe: bool) -> Traits:
    for nal in _nals(data, prefix):
        if len(nal) < 2 or (kind := nal[0] >> 1 & 63) >= 32:
            continue
        return Traits(
            entry=16 <= kind <= 21,
            disposable=kind <= 14 and kind % 2 == 0,
            skipped_at_start=kind in (8, 9),
            layer=(nal[1] & 7) - 1,
        )
    return Traits(entry=False, hidden=True)


def _mpeg12(data: memoryview, prefix: int, keyframe: bool) -> Traits:
    raw = bytes(data[:4096])
    picture = raw.find(b"\x00\x00\x01\x00")
    if picture < 0 or picture + 6 > len(raw):
        return Traits(entry=keyframe)
    kind = raw[picture + 5] >> 3 & 7
    return Traits(entry=kind == 1 and keyframe, disposable=kind == 3, skipped_at_start=kind == 3)


def _mpeg4(data: memoryview, prefix: int, keyframe: bool) -> Traits:
    raw = bytes(data)
    picture = raw.find(b"\x00\x00\x01\xb6")
    if picture < 0 or picture + 5 > len(raw):
        return Traits(entry=keyframe)
    kind = raw[picture + 4] >> 6
    packed = raw.find(b"\x00\x00\x01\xb6", picture + 4) >= 0
    return Traits(entry=keyframe and kind == 0, disposable=kind == 2 and not packed, packed=packed)


def _vp8(data: memoryview, prefix: int, keyframe: bool) -> Traits:
    return Traits(entry=keyframe, hidden=len(data) > 0 and not data[0] >> 4 & 1)


def _vp9(data: memoryview, prefix: int, keyframe: bool) -> Traits:
    if not len(data):
        return Traits(entry=False, hidden=True)
    superframe = data[-1] >> 5 == 0b110
    profile3 = data[0] >> 4 & 3 == 3
    # frame_marker(2) profile(2) [reserved(1)] show_existing(1) frame_type(1) show_frame(1)
    bits = data[0] & (0b0111 if profile3 else 0b1111)
    show_existing, show = (bits >> 2 & 1, bits & 1) if profile3 else (bits >> 3 & 1, bits >> 1 & 1)
    return Traits(entry=keyframe, hidden=not superframe and not show_existing and not show)


CLASSIFIERS: dict[str, Classifier] = {
    "h264": _h264,
    "hevc": _hevc,
    "mpeg1video": _mpeg12,
    "mpeg2video": _mpeg12,
    "mpeg4": _mpeg4,
    "vp8": _vp8,
    "vp9": _vp9,
}


def classifier(codec: str) -> Classifier:
    """The one for `codec` (FFmpeg's name); codecs not in the table are taken at the container's word."""
    return CLASSIFIERS.get(codec, _plain)


def length_prefix(codec: str, extradata: bytes | None) -> int:
    """Bytes of a NAL's length prefix (avcC, hvcC), or 0 where start codes separate NALs (Annex B)."""
    if not extradata or extradata[:3] in (b"\x00\x00\x01", b"\x00\x00\x00"):
        return 0
    if codec == "h264" and extradata[0] == 1 and len(extradata) > 4:
        return (extradata[4] & 3) + 1
    if codec == "hevc" and len(extradata) > 21:
        return (extradata[21] & 3) + 1
    return 0


def is_idr(data: bytes | memoryview, prefix: int) -> bool:
    """Whether an H.264 packet holds an IDR picture, after which a decoder needs nothing of what came before."""
    return any(nal[0] & 31 == 5 for nal in _nals(memoryview(data), prefix) if nal)
