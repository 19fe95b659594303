"""Sparse decoding: from the packet index and the wanted frames to plans of Clips that hold only the packets needed.

A group of pictures runs from one entry point to the next. To decode a wanted picture exactly, a decoder needs every
picture between its entry point and itself in decode order, save those that nobody refers to; a picture shown before
its own entry point (a leading picture of an open GOP) needs the group before as well. Everything else is left out:
whole groups without a wanted picture, the tail of a group after its last one, disposable pictures.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.packets import PacketIndex

#: Wanted frames in one Clip: batches that are worth a model's overhead.
MAX_WANTED = 16

#: Bytes of RGB in one Clip; binds from 4K on, where 10 frames are as many. An 8K frame is 106 MB.
MAX_RGB_BYTES = 256 << 20

#: Compressed bytes in one Clip, the most that is held at once of a long group of pictures.
MAX_BYTES = 32 << 20


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
    """int64 [W], rows in time order; empty in a Clip that is only glimpsed at."""
    glimpsed: np.ndarray
    """int64 [G], the wanted rows and those that were asked for besides, ascending."""


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


def wanted_at_once(index: PacketIndex) -> int:
    """How many wanted frames one Clip may hold."""
    width, height = index.codec.geometry.shown_size
    return max(1, min(MAX_WANTED, MAX_RGB_BYTES // max(1, 3 * width * height)))


def plan(
    index: PacketIndex,
    wanted: np.ndarray,
    *,
    glimpsed: np.ndarray | None = None,
    max_wanted: int | None = None,
    max_bytes: int = MAX_BYTES,
) -> tuple[ClipPlan, ...]:
    """Cut the wanted rows (int64 [W], any order, each once) into Clips of bounded size, in decode order.

    The rows in `glimpsed` come out too, but are not wanted at full size: they are for the strip of thumbnails.
    `max_wanted` is what the size of the pictures allows (`wanted_at_once`), unless given.
    """
    max_wanted = max_wanted or wanted_at_once(index)
    rows_out = np.unique(wanted if glimpsed is None else np.concatenate([wanted, glimpsed])).astype(np.int64)
    if not len(rows_out):
        return ()
    need = needed(index, rows_out)
    start, end = _spans(index, rows_out)
    starts = _clean_starts(index, need, start, end)
    is_wanted = np.zeros(len(index), bool)
    is_wanted[wanted] = True
    is_asked = np.zeros(len(index), bool)
    is_asked[rows_out] = True
    rows = np.flatnonzero(need)
    flush = _gaps(index, need, rows)

    plans: list[ClipPlan] = []
    for chain, group in enumerate(_chains(rows, starts, is_wanted, max_wanted, index.size, max_bytes)):
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
                    glimpsed=part[is_asked[part]],
                )
            )
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
