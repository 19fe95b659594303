"""Cuts planned Clips out of a file, in one pass over its packets."""

from collections.abc import Generator, Iterator, Sequence
from uuid import uuid4

import numpy as np
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

from pipeline.clips import Clip, CodecParameters
from pipeline.container import OpenFile, Video, open_file, open_video
from pipeline.decode.geometry import Geometry
from pipeline.errors import CorruptVideo
from pipeline.packets import PacketIndex, pictures_of
from pipeline.plans import ClipPlan

#: Packets that are read past rather than jumped over: a jump costs about as much as reading so many.
_WORTH_A_JUMP = 500


def cut(
    video: Video,
    index: PacketIndex,
    plans: Sequence[ClipPlan],
    *,
    pixels: bool = True,
    glimpse: bool = False,
    size: tuple[int, int] | None = None,
) -> Generator[Clip]:
    """Read the planned packets of `video` in one pass and yield the Clips as they fill; holds one Clip at a time.

    With `pixels=False` nothing is wanted at full size: with `glimpse`, only the strip of thumbnails comes out.

    Raises:
        VideoError: as `open_video`.
    """
    if not plans:
        return
    job = uuid4().hex
    pending = iter(plans)
    current = next(pending)
    packets: list[bytes] = []
    codec: CodecParameters | None = None
    with open_file(video) as file:
        for row, packet in _packets_from(file, index, int(current.rows[0])):
            if row != current.rows[len(packets)]:
                continue
            if packet.size != index.size[row]:
                raise CorruptVideo(f"{file.name}: it is not the file that was indexed; did it change meanwhile?")
            if codec is None:
                codec = _parameters(packet.stream.codec_context, index)
            packets.append(bytes(packet))
            if len(packets) == len(current.rows):
                yield clip_of(current, index, tuple(packets), codec, job=job, pixels=pixels, glimpse=glimpse, size=size)
                following = next(pending, None)
                if following is None:
                    return
                current, packets = following, []
        raise CorruptVideo(f"{file.name}: it holds fewer packets than when it was indexed; did it change meanwhile?")


def clip_of(
    planned: ClipPlan,
    index: PacketIndex,
    packets: tuple[bytes, ...],
    codec: CodecParameters,
    *,
    job: str,
    pixels: bool,
    glimpse: bool,
    size: tuple[int, int] | None,
) -> Clip:
    """The Clip that a plan and its packets make; everything but those two comes from the index."""
    rows = planned.rows
    return Clip(
        job=job,
        chain=planned.chain,
        part=planned.part,
        last=planned.last,
        codec=codec,
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


def _packets_from(file: OpenFile, index: PacketIndex, first: int) -> Iterator[tuple[int, Packet]]:
    """Packets with their rows, from at most row `first` on; jumps there where the container can."""
    row = 0
    with open_video(file) as (container, stream):
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
    with open_video(file) as (container, stream):
        yield from enumerate(pictures_of(container, stream))


def _row_of(packet: Packet, index: PacketIndex) -> int:
    """The row that this packet is, known by its time and size; -1 where they do not tell."""
    if packet.pts is None:
        return -1
    rows = np.flatnonzero((index.pts == packet.pts) & (index.size == packet.size))
    return int(rows[0]) if len(rows) == 1 else -1


def _parameters(context: VideoCodecContext, index: PacketIndex) -> CodecParameters:
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
        pixel_format=context.pix_fmt,
        # AV_FIELD_PROGRESSIVE is 1, unknown 0.
        interlaced=context.field_order > 1,
        geometry=index.geometry or Geometry(width=context.width, height=context.height),
        peak_nits=index.peak_nits,
    )
