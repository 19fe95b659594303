"""A file with one picture, as a Clip: to be decoded where videos are, and looked at by the models that look at them.

A JPEG, PNG or WebP file is what a decoder of that codec takes for a packet. So nothing of it is read here but the few
bytes that say what it is and how large, and no decoder but the sandbox's ever sees it.
"""

import struct
from collections.abc import Callable
from typing import Final
from uuid import uuid4

from pipeline.clips import Clip, CodecParameters
from pipeline.container import too_large
from pipeline.decode.geometry import Geometry
from pipeline.errors import CorruptVideo, LimitExceeded, UnsupportedContainer
from pipeline.limits import INPUT_LIMITS, InputLimits

#: FFmpeg's numbers for the full range, and for the colours that JPEG has (BT.601).
_FULL, _BT601, _UNKNOWN = 2, 5, 2

#: Markers of JPEG that begin a frame and say its size: all C0 to CF but tables.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

#: Markers without a length.
_BARE: Final = frozenset({0x01, *range(0xD0, 0xD9)})

_VP8L, _VP8X, _VP8 = b"VP8L", b"VP8X", b"VP8 "


def clip_of(content: bytes, limits: InputLimits = INPUT_LIMITS) -> Clip:
    """The picture as a Clip of one frame. It is taken as it is stored: a note of how to turn it is not read.

    Raises:
        UnsupportedContainer: it is neither a JPEG nor a PNG nor a WebP.
        CorruptVideo: it ends before it says how large it is.
        LimitExceeded: the picture has more pixels than are read.
    """
    codec, size = _measured(content)
    width, height = size
    if min(width, height) < 1:
        raise CorruptVideo("the picture says that it has no pixels")
    if width * height > limits.max_pixels:
        raise LimitExceeded(too_large(width * height, limits))
    jpeg = codec == "mjpeg"
    return Clip(
        job=uuid4().hex,
        chain=0,
        part=0,
        last=True,
        codec=CodecParameters(
            name=codec,
            extradata=None,
            tag="\0\0\0\0",
            width=width,
            height=height,
            reorder_depth=0,
            bits_per_coded_sample=0,
            color_range=_FULL if jpeg else 0,
            color_primaries=_UNKNOWN,
            color_trc=_UNKNOWN,
            colorspace=_BT601 if jpeg else _UNKNOWN,
            geometry=Geometry(width=width, height=height),
        ),
        rows=(0,),
        packets=(content,),
        flush_at=(),
        keyframes=(0,),
        times_s=(0.0,),
        ranks=(0,),
        wanted=(0,),
    )


def _measured(content: bytes) -> tuple[str, tuple[int, int]]:
    """FFmpeg's name of the codec, and (width, height) in pixels."""
    for codec, begins, measure in _KINDS:
        if begins(content):
            try:
                return codec, measure(content)
            except (struct.error, IndexError) as error:
                raise CorruptVideo("the picture ends before it says how large it is") from error
    raise UnsupportedContainer("this is no picture that is read here: send a JPEG, a PNG or a WebP")


def _png(content: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", content, 16)
    return width, height


def _jpeg(content: bytes) -> tuple[int, int]:
    at = 2
    while True:
        if content[at] != 0xFF:
            raise CorruptVideo("the picture is damaged: a JPEG without its size")
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _BARE:
            at += 2
        elif marker in _FRAMES:
            height, width = struct.unpack_from(">HH", content, at + 5)
            return width, height
        else:
            at += 2 + struct.unpack_from(">H", content, at + 2)[0]


def _webp(content: bytes) -> tuple[int, int]:
    kind = content[12:16]
    if kind == _VP8X:
        width, height = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27))
        if len(content) < 30:
            raise IndexError
        return width, height
    if kind == _VP8L:
        (bits,) = struct.unpack_from("<I", content, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == _VP8:
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise CorruptVideo("the picture is damaged: a WebP without its size")


_KINDS: Final[tuple[tuple[str, Callable[[bytes], bool], Callable[[bytes], tuple[int, int]]], ...]] = (
    ("mjpeg", lambda content: content.startswith(b"\xff\xd8\xff"), _jpeg),
    ("png", lambda content: content.startswith(b"\x89PNG\r\n\x1a\n"), _png),
    ("webp", lambda content: content[:4] == b"RIFF" and content[8:12] == b"WEBP", _webp),
)
"""(codec, whether a file is one, its size)."""
