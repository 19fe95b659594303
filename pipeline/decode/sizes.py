"""What size compressed pictures say they have, for a decoder that goes by the first one and never looks again.

Sources: RFC 6386 (9.1), the VP9 bitstream specification (6.2, annex B), ITU-T T.81 (B.2).
"""

import re
from collections.abc import Callable

Sizes = frozenset[tuple[int, int]]
"""(width, height) of the pictures of one packet that name theirs; the others have that of one before them."""


class _Bits:
    """Reads numbers from a header, bit by bit. Raises IndexError past its end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def read(self, count: int) -> int:
        """The next `count` bits."""
        self._left -= count
        if self._left < 0:
            raise IndexError("the header is cut off")
        return self._value >> self._left & ((1 << count) - 1)


def _vp8(data: bytes) -> Sizes:
    if data[0] & 1:
        return frozenset()
    if data[3:6] != b"\x9d\x01\x2a" or len(data) < 10:
        raise ValueError("no start code")
    # The upper two bits ask the player to enlarge the picture.
    return frozenset({(int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF)})


def _vp9(data: bytes) -> Sizes:
    return frozenset(size for frame in _superframe(data) if (size := _vp9_frame(frame)) is not None)


def _superframe(data: bytes) -> list[bytes]:
    """The frames of a VP9 packet: an index at its end says where each begins."""
    mark = data[-1]
    count, width = (mark & 7) + 1, (mark >> 3 & 3) + 1
    index = data[-(2 + count * width) :]
    if mark >> 5 != 0b110 or index[0] != mark:
        return [data]
    frames, begin = [], 0
    for at in range(1, 1 + count * width, width):
        size = int.from_bytes(index[at : at + width], "little")
        frames.append(data[begin : begin + size])
        begin += size
    return [frame for frame in frames if frame]


def _vp9_frame(data: bytes) -> tuple[int, int] | None:
    # The longest header ends its size within 16 bytes.
    bits = _Bits(data[:16])
    if bits.read(2) != 2:
        raise ValueError("no frame marker")
    profile = bits.read(1) | bits.read(1) << 1
    if profile == 3:
        bits.read(1)
    if bits.read(1):
        return None  # shows an earlier picture again
    inter, shown, resilient = bits.read(1), bits.read(1), bits.read(1)
    if inter:
        intra_only = not shown and bits.read(1)
        if not resilient:
            bits.read(2)
        if not intra_only:
            bits.read(8 + 3 * 4)  # which pictures it replaces, and refers to
            if bits.read(1) or bits.read(1) or bits.read(1):
                return None  # as large as one that it refers to
            return bits.read(16) + 1, bits.read(16) + 1
    if bits.read(24) != 0x498342:
        raise ValueError("no sync code")
    if not inter or profile > 0:
        _skip_vp9_colour(bits, profile)
    if inter:
        bits.read(8)
    return bits.read(16) + 1, bits.read(16) + 1


def _skip_vp9_colour(bits: _Bits, profile: int) -> None:
    if profile >= 2:
        bits.read(1)
    is_rgb = bits.read(3) == 7
    if not is_rgb:
        bits.read(1)
    if profile in (1, 3):
        bits.read(1 if is_rgb else 3)


#: A frame header: its marker, its length and precision, then height and width.
_SOF = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf].{3}(..)(..)", re.DOTALL)


def _jpeg(data: bytes) -> Sizes:
    """Of whatever looks like a frame header, anywhere: FFmpeg searches a damaged picture for the next marker too."""
    found = frozenset(
        (int.from_bytes(width, "big"), int.from_bytes(height, "big")) for height, width in _SOF.findall(data)
    )
    if not found:
        raise ValueError("no frame header")
    return found


_READERS: dict[str, Callable[[bytes], Sizes]] = {"vp8": _vp8, "vp9": _vp9, "mjpeg": _jpeg}


def sizes_of(codec: str, packet: bytes) -> Sizes | None:
    """Sizes that a packet names; None where they cannot be read: the packet is damaged, or of another codec."""
    try:
        return _READERS[codec](packet)
    except (KeyError, IndexError, ValueError):
        return None
