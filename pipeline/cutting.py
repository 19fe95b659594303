"""Cuts planned Clips out of a file, in one pass over its packets."""

import os
from collections.abc import Iterator, Sequence
from uuid import uuid4

import numpy as np
from av.error import FFmpegError
from av.packet import Packet

from pipeline.clips import Clip, CodecParameters
from pipeline.container import open_video
from pipeline.errors import CorruptVideo
from pipeline.packets import PacketIndex, pictures_of
from pipeline.plans import ClipPlan

#: Packets that are read past rather than jumped over: a jump costs about as much as reading so many.
_WORTH_A_JUMP = 500


def cut(
    path: str | os.PathLike[str],
    index: PacketIndex,
    plans: Sequence[ClipPlan],
    *,
    rotation_deg: int = 0,
    pixels: bool = True,
    glimpse: bool = False,
    size: tuple[int, int] | None = None,
) -> Iterator[Clip]:
    """Read the planned packets of `path` in one pass and yield the Clips as they fill; holds one Clip at a time.

    With `pixels=False` nothing is wanted at full size: with `glimpse`, only the strip of thumbnails comes out.

    Raises:
        VideoError: as `open_video`.
    """
    if not plans:
        return
    times_s = np.where(index.shown, index.times_s, np.nan)

    job = uuid4().hex

    def clip(planned: ClipPlan, packets: list[bytes], codec: CodecParameters) -> Clip:
        return Clip(
            job=job,
            chain=planned.chain,
            part=planned.part,
            last=planned.last,
            codec=codec,
            rows=tuple(planned.rows.tolist()),
            packets=tuple(packets),
            flush_at=tuple(np.flatnonzero(planned.flush).tolist()),
            times_s=tuple(times_s[planned.rows].tolist()),
            wanted=tuple(planned.wanted.tolist()) if pixels else (),
            exact=pixels,
            glimpse=glimpse,
            glimpsed=tuple(planned.glimpsed.tolist()) if glimpse else (),
            size=size,
        )

    pending = iter(plans)
    current = next(pending)
    packets: list[bytes] = []
    codec: CodecParameters | None = None
    for row, packet in _packets_from(path, index, int(current.rows[0])):
        if row != current.rows[len(packets)]:
            continue
        if codec is None:
            codec = _parameters(packet.stream.codec_context, rotation_deg)
        packets.append(bytes(packet))
        if len(packets) == len(current.rows):
            yield clip(current, packets, codec)
            following = next(pending, None)
            if following is None:
                return
            current, packets = following, []
    raise CorruptVideo(f"{path}: the file holds fewer packets than when it was indexed; did it change meanwhile?")


def _packets_from(path: str | os.PathLike[str], index: PacketIndex, first: int) -> Iterator[tuple[int, Packet]]:
    """Packets with their rows, from at most row `first` on; jumps there where the container can."""
    row = 0
    with open_video(path) as (container, stream):
        packets = pictures_of(container, stream)
        if first > _WORTH_A_JUMP:
            try:
                container.seek(int(index.pts[first]), stream=stream)
                landed = next(packets, None)
            except FFmpegError:
                landed = None
            row = -1 if landed is None else _row_of(landed, index)
            if landed is not None and 0 <= row <= first:
                yield row, landed
                row += 1
            else:
                row = -1
        if row >= 0:
            yield from enumerate(packets, row)
            return
    # The container cannot find its way, or shows other times after a jump: read it from the start instead.
    with open_video(path) as (container, stream):
        yield from enumerate(pictures_of(container, stream))


def _row_of(packet: Packet, index: PacketIndex) -> int:
    """The row that this packet is, known by its time and size; -1 where they do not tell."""
    if packet.pts is None:
        return -1
    rows = np.flatnonzero((index.pts == packet.pts) & (index.size == packet.size))
    return int(rows[0]) if len(rows) == 1 else -1


def _parameters(context, rotation_deg: int) -> CodecParameters:
    return CodecParameters(
        name=context.codec.canonical_name,
        extradata=context.extradata,
        tag=context.codec_tag,
        width=context.width,
        height=context.height,
        reorder_depth=context.reorder_depth,
        bits_per_coded_sample=context.bits_per_coded_sample,
        color_range=int(context.color_range),
        color_primaries=int(context.color_primaries),
        color_trc=int(context.color_trc),
        colorspace=int(context.colorspace),
        rotation_deg=rotation_deg,
    )
