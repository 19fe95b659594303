"""Cuts planned Clips out of a file, in one pass over its packets."""

from collections.abc import Generator, Iterator, Sequence
from itertools import pairwise
from uuid import uuid4

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from pipeline.clips import Clip
from pipeline.container import open_video
from pipeline.errors import CorruptVideo
from pipeline.limits import INPUT_LIMITS, InputLimits
from pipeline.opened import OpenFile, Video, open_file
from pipeline.packets import PacketIndex, pictures_of
from pipeline.plans import ClipPlan

#: Packets, and bytes of them, that are read past rather than jumped over. A jump costs no more than a few packets where
#: the container has an index (MP4, Matroska), and about as much as these where it has to be searched (MPEG-TS).
_WORTH_A_JUMP, _WORTH_A_JUMP_BYTES = 100, 1 << 20


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
    """The packets of each plan, in one pass over `video`, with jumps over what is not needed.

    Raises:
        VideoError: as `open_video`; CorruptVideo where it is not the file that was indexed.
    """
    if not plans:
        return
    pending = iter(plans)
    current = next(pending)
    packets: list[bytes] = []
    wanted = np.concatenate([planned.rows for planned in plans])
    with open_file(video) as file:
        for row, packet in _packets(file, index, wanted, limits):
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


def _packets(
    file: OpenFile, index: PacketIndex, wanted: np.ndarray, limits: InputLimits
) -> Iterator[tuple[int, Packet]]:
    """Packets with their rows, the `wanted` rows (int64 [R], ascending) among them; jumps over stretches without one
    where the container can. A row may come again."""
    done = 0
    try:
        for row, packet in _jumping(file, index, wanted, limits):
            done = row + 1
            yield row, packet
        return
    except _Lost:
        pass
    # The container cannot find its way, or shows other times after a jump: read it from the start instead.
    with open_video(file, limits) as (container, stream):
        yield from ((row, packet) for row, packet in enumerate(pictures_of(container, stream)) if row >= done)


class _Lost(Exception):
    """Where a jump led to, nobody knows."""


def _jumping(
    file: OpenFile, index: PacketIndex, wanted: np.ndarray, limits: InputLimits
) -> Iterator[tuple[int, Packet]]:
    """See `_packets`. Raises _Lost."""
    at, jumped, may_jump = 0, False, True
    with open_video(file, limits) as (container, stream):
        packets = pictures_of(container, stream)
        for first, last in _runs(index, wanted):
            if may_jump and (
                first - at > _WORTH_A_JUMP or int(index.size[at:first].sum(dtype=np.int64)) > _WORTH_A_JUMP_BYTES
            ):
                packets, row, packet = _landed(container, stream, index, first)
                # One that leads back is no good: others would, too, and everything be read again and again.
                may_jump, jumped = row >= at, True
                yield row, packet
                at = row + 1
            while at <= last and (packet := next(packets, None)) is not None:
                if jumped and packet.size != index.size[at]:
                    raise _Lost
                yield at, packet
                at += 1


def _runs(index: PacketIndex, wanted: np.ndarray) -> list[tuple[int, int]]:
    """(first, last) of wanted rows between which nothing is worth a jump."""
    before = np.concatenate(([0], np.cumsum(index.size, dtype=np.int64)))
    skipped = before[wanted[1:]] - before[wanted[:-1] + 1]
    far = (np.diff(wanted) - 1 > _WORTH_A_JUMP) | (skipped > _WORTH_A_JUMP_BYTES)
    bounds = [-1, *np.flatnonzero(far).tolist(), len(wanted) - 1]
    return [(int(wanted[begin + 1]), int(wanted[end])) for begin, end in pairwise(bounds)]


def _landed(
    container: InputContainer, stream: VideoStream, index: PacketIndex, row: int
) -> tuple[Iterator[Packet], int, Packet]:
    """Jump to a row, or before it: what comes next, and the first of that with its row. Raises _Lost."""
    try:
        container.seek(int(index.pts[row]), stream=stream)
        packets = pictures_of(container, stream)
        packet = next(packets, None)
    except FFmpegError as error:
        raise _Lost from error
    landed = -1 if packet is None else _row_of(packet, index)
    if packet is None or not 0 <= landed <= row:
        raise _Lost
    return packets, landed, packet


def _row_of(packet: Packet, index: PacketIndex) -> int:
    """The row that this packet is, known by its time and size; -1 where they do not tell."""
    if packet.pts is None:
        return -1
    rows = np.flatnonzero((index.pts == packet.pts) & (index.size == packet.size))
    return int(rows[0]) if len(rows) == 1 else -1
