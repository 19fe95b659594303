"""MPEG transport and program streams: packets that say whether they are scrambled (ISO/IEC 13818-1, 2.4.3)."""

from pipeline.structure.base import OpenFile

#: Bytes that are looked at.
_SAMPLE = 1 << 20

#: Bytes from one packet to the next and before the first: plain, with times (Blu-ray, AVCHD), with error correction.
_STRIDES = ((188, 0), (192, 4), (204, 0))

_SYNC, _PACK = 0x47, b"\0\0\1\xba"

#: Share of the packets that must be scrambled: broadcasts have a clear one now and then, DVDs many.
_BROADCAST, _DVD = 0.5, 0.1


def is_transport(head: bytes) -> bool:
    """Whether a file that begins like this is a transport stream."""
    return _stride(head) is not None


def is_program(head: bytes) -> bool:
    """Whether a file that begins like this is a program stream."""
    return head.startswith(_PACK)


def scrambled_transport(file: OpenFile, stream_id: int | None) -> str | None:
    """See `structure.Kind`; a stream's id is the PID of its packets."""
    # The API looks at heads of files alone, and starts without it.
    import numpy as np

    data = file.read_at(0, _SAMPLE)
    found = _stride(data)
    if found is None or stream_id is None:
        return None
    stride, first = found
    packets = np.frombuffer(data, np.uint8, len(data[first:]) // stride * stride, first).reshape(-1, stride)
    packets = packets[packets[:, 0] == _SYNC]
    pid = (packets[:, 1].astype(int) & 0x1F) << 8 | packets[:, 2]
    ours = packets[(pid == stream_id) & (packets[:, 3] & 0x10 > 0), 3]
    if len(ours) and (ours & 0xC0 > 0).mean() > _BROADCAST:
        return "a scrambled broadcast"
    return None


def scrambled_program(file: OpenFile, stream_id: int | None) -> str | None:
    """See `structure.Kind`; a stream's id is the last byte of the start code of its packets."""
    if stream_id is None:
        return None
    data = file.read_at(0, _SAMPLE)
    code = b"\0\0\1" + bytes([stream_id & 0xFF])
    flags, at = [], data.find(code)
    while 0 <= at < len(data) - 6:
        flags.append(data[at + 6])
        at = data.find(code, at + 6)
    # 10 and then the two bits that tell, if the packet has such a header at all.
    scrambled = sum(flag & 0xF0 in (0x90, 0xA0, 0xB0) for flag in flags)
    return "a copy-protected DVD" if scrambled > _DVD * len(flags) else None


def _stride(head: bytes) -> tuple[int, int] | None:
    """(bytes from one packet to the next, bytes before the first) of a transport stream; None where it is none."""
    for stride, first in _STRIDES:
        if len(head) > first + stride and all(byte == _SYNC for byte in head[first : first + 4 * stride + 1 : stride]):
            return stride, first
    return None
