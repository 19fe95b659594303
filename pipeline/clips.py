"""Sparse decoding: from the packet index and the wanted frames to Clips that hold only the packets needed.

A group of pictures runs from one entry point to the next. To decode a wanted picture exactly, a decoder needs every
picture between its entry point and itself in decode order, save those that nobody refers to; a picture shown before
its own entry point (a leading picture of an open GOP) needs the group before as well. Everything else is left out:
whole groups without a wanted picture, the tail of a group after its last one, disposable pictures.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.container import open_video
from pipeline.packets import PacketIndex
from pipeline.record import Record

#: Wanted frames in one Clip. Bounds the pixels that one decode holds (16 frames of 1080p RGB are 100 MB) while
#: giving a model batches that are worth their overhead.
MAX_WANTED = 16

#: Compressed bytes in one Clip, the most that is held at once of a long group of pictures.
MAX_BYTES = 32 << 20


class CodecParameters(Record, kw_only=True):
    """What a fresh decoder must be told; some of it only the container knows."""

    name: str
    """FFmpeg's canonical codec name, for example `h264`."""
    extradata: bytes | None
    tag: str
    width: int
    height: int
    reorder_depth: int
    """How many frames the decoder may have to hold back for reordering."""
    bits_per_coded_sample: int
    color_range: int
    color_primaries: int
    color_trc: int
    colorspace: int
    rotation_deg: int = 0
    """Clockwise rotation a player applies; the decoder hands out upright frames."""


class Clip(Record, kw_only=True):
    """The unit of work, and what travels: codec parameters and the packets needed, no pixels."""

    chain: int
    """Clips of one chain share a decoder and are decoded in order of `part`."""
    part: int
    last: bool
    """Whether the chain ends here, so that the decoder must hand out what it holds back."""
    codec: CodecParameters
    rows: tuple[int, ...]
    """Rows of the packet index, one a packet; the identity under which frames come out."""
    packets: tuple[bytes, ...]
    flush_at: tuple[int, ...]
    """Positions in `packets` before which the decoder starts afresh because something was left out."""
    times_s: tuple[float, ...]
    """When the picture of each packet is shown, seconds on the video's time line; NaN for one that is not shown."""
    wanted: tuple[int, ...]
    """Rows of the pictures that models are to see, in time order; empty where only the strip is asked for."""
    glimpse: bool = False
    """Whether a tiny thumbnail of every shown picture that comes out on the way is handed out too."""
    size: tuple[int, int] | None = None
    """(width, height) to which the decoder may scale wanted pictures quickly; None: full size, as models need it."""

    def __repr__(self) -> str:
        """Shapes, not bytes."""
        return (
            f"Clip(chain={self.chain}, part={self.part}, last={self.last}, codec={self.codec.name}, "
            f"packets={len(self.packets)}, bytes={sum(map(len, self.packets))}, wanted={len(self.wanted)}, "
            f"glimpse={self.glimpse})"
        )


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """Which packets make one Clip."""

    chain: int
    part: int
    last: bool
    rows: np.ndarray
    """int64 [R], ascending (decode order)."""
    flush: np.ndarray
    """bool [R], start afresh before this row."""
    wanted: np.ndarray
    """int64 [W], rows in time order."""


def needed(index: PacketIndex, wanted: np.ndarray) -> np.ndarray:
    """bool [P]: the packets that a decoder must be fed for the rows in `wanted` (int64 [W]) to come out exactly."""
    first, last = _spans(index, wanted)
    cover = np.zeros(len(index) + 1, np.int64)
    np.add.at(cover, first, 1)
    np.add.at(cover, last + 1, -1)
    need = (np.cumsum(cover[:-1]) > 0) & ~index.disposable
    need[wanted] = True
    return need


def _spans(index: PacketIndex, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last row, int64 [W] each, between which lies all that each wanted row depends on."""
    entries = np.flatnonzero(index.entry)
    group = np.searchsorted(entries, wanted, side="right") - 1
    start = entries[np.maximum(group, 0)]
    leading = (index.pts[wanted] < index.pts[start]) & (group > 0)
    start = np.where(leading, entries[np.maximum(group - 1, 0)], start)
    # A packed picture comes out with the packet after its own.
    end = np.minimum(wanted + 1, len(index) - 1) if index.packed else wanted
    return start, end


def plan(
    index: PacketIndex, wanted: np.ndarray, max_wanted: int = MAX_WANTED, max_bytes: int = MAX_BYTES
) -> tuple[ClipPlan, ...]:
    """Cut the wanted rows (int64 [W], any order, each once) into Clips of bounded size, in decode order."""
    if not len(wanted):
        return ()
    wanted = np.unique(wanted)
    need = needed(index, wanted)
    start, end = _spans(index, wanted)
    starts = _clean_starts(index, need, start, end)
    is_wanted = np.zeros(len(index), bool)
    is_wanted[wanted] = True
    rows = np.flatnonzero(need)
    flush = _gaps(index, need, rows)

    plans: list[ClipPlan] = []
    chain = 0
    for group in _chains(rows, starts, is_wanted, max_wanted, index.size, max_bytes):
        parts = _parts(group, is_wanted, max_wanted, index.size, max_bytes)
        for number, part in enumerate(parts):
            chosen = part[is_wanted[part]]
            plans.append(
                ClipPlan(
                    chain=chain,
                    part=number,
                    last=number == len(parts) - 1,
                    rows=part,
                    flush=flush[np.searchsorted(rows, part)] & (part != group[0]),
                    wanted=chosen[np.argsort(index.pts[chosen], kind="stable")],
                )
            )
        chain += 1
    return tuple(plans)


def _clean_starts(index: PacketIndex, need: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """bool [P]: needed entry points that no wanted picture's dependencies reach across, so a new decoder may begin."""
    crossing = np.zeros(len(index) + 1, np.int64)
    np.add.at(crossing, start + 1, 1)
    np.add.at(crossing, end + 1, -1)
    return index.entry & need & (np.cumsum(crossing[:-1]) == 0)


def _gaps(index: PacketIndex, need: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """bool [R]: needed entry points before which a picture that others refer to was left out."""
    dropped = np.cumsum(~need & ~index.disposable)
    before = np.concatenate(([0], dropped[rows[:-1]]))
    return index.entry[rows] & (dropped[rows] > before)


def _chains(
    rows: np.ndarray, starts: np.ndarray, is_wanted: np.ndarray, max_wanted: int, size: np.ndarray, max_bytes: int
) -> Iterator[np.ndarray]:
    """Split at clean starts, so that a chain holds about `max_wanted` pictures where the entry points allow it."""
    bounds = [*np.flatnonzero(starts[rows]).tolist(), len(rows)]
    begin = bounds[0] if bounds[0] == 0 else 0
    count = weight = 0
    previous = begin
    for bound in bounds[1:] if bounds[0] == 0 else bounds:
        piece = rows[previous:bound]
        more, heavier = int(is_wanted[piece].sum()), int(size[piece].sum())
        if previous > begin and (count + more > max_wanted or weight + heavier > max_bytes):
            yield rows[begin:previous]
            begin, count, weight = previous, 0, 0
        count, weight, previous = count + more, weight + heavier, bound
    yield rows[begin:]


def _parts(
    group: np.ndarray, is_wanted: np.ndarray, max_wanted: int, size: np.ndarray, max_bytes: int
) -> list[np.ndarray]:
    """Split a chain that is too big for one Clip; its parts go through one decoder one after the other."""
    wanted_before = np.cumsum(is_wanted[group]) - is_wanted[group]
    bytes_before = np.cumsum(size[group].astype(np.int64)) - size[group]
    number = np.maximum(wanted_before // max_wanted, bytes_before // max_bytes)
    number = np.maximum.accumulate(number)
    cuts = np.flatnonzero(np.diff(number)) + 1
    return np.split(group, cuts)


def cut(
    path: str | os.PathLike[str],
    index: PacketIndex,
    plans: tuple[ClipPlan, ...],
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

    def clip(planned: ClipPlan, packets: list[bytes]) -> Clip:
        return Clip(
            chain=planned.chain,
            part=planned.part,
            last=planned.last,
            codec=codec,
            rows=tuple(planned.rows.tolist()),
            packets=tuple(packets),
            flush_at=tuple(np.flatnonzero(planned.flush).tolist()),
            times_s=tuple(times_s[planned.rows].tolist()),
            wanted=tuple(planned.wanted.tolist()) if pixels else (),
            glimpse=glimpse,
            size=size,
        )

    with open_video(path) as (container, stream):
        codec = _parameters(stream.codec_context, rotation_deg)
        pending = iter(plans)
        current = next(pending)
        packets: list[bytes] = []
        row = -1
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            row += 1
            if row != current.rows[len(packets)]:
                continue
            packets.append(bytes(packet))
            if len(packets) == len(current.rows):
                yield clip(current, packets)
                following = next(pending, None)
                if following is None:
                    return
                current, packets = following, []


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
