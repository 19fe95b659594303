"""A Clip as a file: a view of its packets for decoders that want a container. Nothing is decoded or encoded.

Matroska, written here and not by FFmpeg's muxer: PyAV hands a stream that was not opened from another file no codec
private data, and the few elements needed are fewer lines than a way around that. Every picture is shown `TICK_MS` after
the one before it in display order, whatever the video's own times: a frame's time names its packet, and readers that
assume a constant frame rate count the same frames as those that read times.
"""

import math
import struct
from collections.abc import Sequence

from pipeline.clips import Clip

#: Distance of two pictures in a Clip's file, milliseconds; their real times stay with the Clip.
TICK_MS = 40

#: FFmpeg's codec name -> Matroska's. Others (WMV, FLV1, ...) would need a second container's rules; PyAV decodes them.
CODEC_IDS = {
    "h264": "V_MPEG4/ISO/AVC",
    "hevc": "V_MPEGH/ISO/HEVC",
    "vp8": "V_VP8",
    "vp9": "V_VP9",
    "av1": "V_AV1",
    "mpeg4": "V_MPEG4/ISO/ASP",
    "mpeg2video": "V_MPEG2",
    "mpeg1video": "V_MPEG1",
    "mjpeg": "V_MJPEG",
    "theora": "V_THEORA",
}

#: Packets in one cluster; times inside a cluster are 16 bits of milliseconds, so at most 800.
_CLUSTER = 256

#: FFmpeg's number of "unspecified" in its enumerations of colour.
_UNSPECIFIED = 2


def refusal(clip: Clip) -> str | None:
    """Why this Clip cannot be a file of its own, or None where it can."""
    if clip.part or not clip.last:
        return "a part of a longer chain, whose decoder keeps its state from part to part"
    if clip.codec.name not in CODEC_IDS:
        return f"{clip.codec.name} is not written as Matroska here"
    return None


def matroska(clip: Clip, matrix: int = _UNSPECIFIED, *, encore: bool = False) -> bytes:
    """The Clip as a Matroska file. The picture of packet `p` is shown at `clip.ranks[p] * TICK_MS` milliseconds.

    Keyframes are the points where a decoder has to start afresh, and no others: the first packet and `clip.flush_at`.

    Args:
        matrix: the colour matrix to write (FFmpeg's AVColorSpace) where the Clip names none.
        encore: whether the first packet comes once more at the end, shown last. Its picture, being that of an entry
            point, is the first one again: a reader that counts pictures can see from it that none was missing before.

    Raises:
        ValueError: `refusal` says why the Clip cannot be written.
    """
    if (why := refusal(clip)) is not None:
        raise ValueError(why)
    packets, ranks = clip.packets, clip.ranks
    if encore:
        packets, ranks = (*packets, packets[0]), (*ranks, len(ranks))
    clusters = _clusters(packets, ranks, {0, *clip.flush_at})
    header = _element(
        0x1A45DFA3,
        _number(0x4286, 1),
        _number(0x42F7, 1),
        _number(0x42F2, 4),
        _number(0x42F3, 8),
        _element(0x4282, b"matroska"),
        _number(0x4287, 4),
        _number(0x4285, 2),
    )
    duration = _element(0x4489, struct.pack(">d", len(packets) * TICK_MS))
    names = _element(0x4D80, b"automations"), _element(0x5741, b"automations")
    info = _element(0x1549A966, _number(0x2AD7B1, 1_000_000), duration, *names)
    return header + _element(0x18538067, info, _element(0x1654AE6B, _track(clip, matrix)), *clusters)


def _track(clip: Clip, matrix: int) -> bytes:
    codec = clip.codec
    colour = [
        _number(0x55B1, codec.colorspace if codec.colorspace != _UNSPECIFIED else matrix),
        _number(0x55B9, codec.color_range),
        _number(0x55BA, codec.color_trc),
        _number(0x55BB, codec.color_primaries),
    ]
    video = _element(0xE0, _number(0xB0, codec.width), _number(0xBA, codec.height), _element(0x55B0, *colour))
    return _element(
        0xAE,
        _number(0xD7, 1),
        _number(0x73C5, 1),
        _number(0x83, 1),
        _number(0x9C, 0),
        _element(0x86, CODEC_IDS[codec.name].encode()),
        _element(0x63A2, codec.extradata) if codec.extradata else b"",
        _number(0x23E383, TICK_MS * 1_000_000),
        video,
    )


def _clusters(packets: Sequence[bytes], ranks: Sequence[int], keyframes: set[int]) -> list[bytes]:
    """A new cluster at each keyframe, so that a jump to one lands on its first packet."""
    starts = sorted(keyframes | set(range(0, len(packets), _CLUSTER)))
    clusters = []
    for first, stop in zip(starts, [*starts[1:], len(packets)], strict=True):
        begin = ranks[first] * TICK_MS
        blocks = [
            _element(
                0xA3,
                b"\x81" + struct.pack(">hB", ranks[at] * TICK_MS - begin, 0x80 if at in keyframes else 0),
                packets[at],
            )
            for at in range(first, stop)
        ]
        clusters.append(_element(0x1F43B675, _number(0xE7, begin), *blocks))
    return clusters


def _element(identifier: int, *content: bytes) -> bytes:
    """An EBML element; the size is always written in eight bytes."""
    size = sum(map(len, content))
    name = identifier.to_bytes(math.ceil(identifier.bit_length() / 8), "big")
    return b"".join((name, (size | 1 << 56).to_bytes(8, "big"), *content))


def _number(identifier: int, value: int) -> bytes:
    return _element(identifier, value.to_bytes(max(1, math.ceil(value.bit_length() / 8)), "big"))
