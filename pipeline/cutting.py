"""Cuts planned Clips out of a file, in one pass over its packets."""

from collections.abc import Generator, Iterator, Sequence
from uuid import uuid4

import numpy as np
from av.error import FFmpegError
from av.packet import Packet

from pipeline.clips import Clip
from pipeline.container import open_video
from pipeline.errors import CorruptVideo
from pipeline.limits import INPUT_LIMITS, InputLimits
from pipeline.opened import OpenFile, Video, open_file
from pipeline.packets import PacketIndex, pictures_of
from pipeline.plans import ClipPlan

#: Packets that are read past rather than jumped over: a jump costs about as much as reading so many.
_WORTH_A_JUMP = 500


def cut(
    video: Video, index: PacketIndex, plans: Sequence[ClipPlan], limits: InputLimits = INPUT_LIMITS, **how
) -> Generator[Clip]:
    """Read the planned packets of `video` in one pass and yield the Clips as they fill; holds one Clip at a time.

    Args:
        how: what is wanted of the Clips, see `clip_of`.

    Raises:
        VideoError: as `open_video`.
    """
    job = uuid4().hex
    for planned, packets in zip(plans, read(video, index, plans, limits), strict=True):
        yield clip_of(planned, index, packets, job=job, **how)


def read(
    video: Video, index: PacketIndex, plans: Sequence[ClipPlan], limits: InputLimits = INPUT_LIMITS
) -> Generator[tuple[bytes, ...]]:
    """The packets of each plan, in one pass over `video`.

    Raises:
        VideoError: as `open_video`; CorruptVideo where it is not the file that was indexed.
    """
    if not plans:
        return
    pending = iter(plans)
    current = next(pending)
    packets: list[bytes] = []
    with open_file(video) as file:
        for row, packet in _packets_from(file, index, int(current.rows[0]), limits):
            if row != current.rows[len(packets)]:
                continue
            if packet.size != index.size[row]:
                raise CorruptVideo(f"{file.name}: it is not the file that was indexed; did it change meanwhile?")
            packets.append(bytes(packet))
            if len(packets) == len(current.rows):
                yield tuple(packets)
                following = next(pending, None)
                if following is None:
                    return
                current, packets = following, []
        raise CorruptVideo(f"{file.name}: it holds fewer packets than when it was indexed; did it change meanwhile?")


def clip_of(
    planned: ClipPlan,
    index: PacketIndex,
    packets: tuple[bytes, ...],
    *,
    job: str,
    owner: str = "",
    pixels: bool = True,
    glimpse: bool = False,
    size: tuple[int, int] | None = None,
) -> Clip:
    """The Clip that a plan and its packets make; everything else comes from the index.

    Args:
        job: a name that no other request has.
        owner: see `Clip.owner`.
        pixels: whether pictures are wanted at full size, or at `size`.
        glimpse: whether a strip of thumbnails is; with `pixels=False` that is all.
        size: see `Clip.size`.
    """
    rows = planned.rows
    return Clip(
        job=job,
        owner=owner,
        chain=planned.chain,
        part=planned.part,
        last=planned.last,
        codec=index.codec,
        rows=tuple(rows.tolist()),
        packets=packets,
        flush_at=tuple(np.flatnonzero(planned.flush).tolist()),
        keyframes=tuple(np.flatnonzero(index.keyframe[rows]).tolist()),
        times_s=tuple(np.where(index.shown[rows], index.times_of(rows), np.nan).tolist()),
        ranks=tuple(np.argsort(np.argsort(index.pts[rows], kind="stable")).tolist()),
        wanted=tuple(planned.wanted.tolist()) if pixels else (),
        exact=pixels,
        glimpse=glimpse,
        glimpsed=tuple(planned.glimpsed.tolist()) if glimpse else (),
        size=size,
    )


def _packets_from(file: OpenFile, index: PacketIndex, first: int, limits: InputLimits) -> Iterator[tuple[int, Packet]]:
    """Packets with their rows, from at most row `first` on; jumps there where the container can."""
    row = 0
    with open_video(file, limits) as (container, stream):
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
    with open_video(file, limits) as (container, stream):
        yield from enumerate(pictures_of(container, stream))


def _row_of(packet: Packet, index: PacketIndex) -> int:
    """The row that this packet is, known by its time and size; -1 where they do not tell."""
    if packet.pts is None:
        return -1
    rows = np.flatnonzero((index.pts == packet.pts) & (index.size == packet.size))
    return int(rows[0]) if len(rows) == 1 else -1
