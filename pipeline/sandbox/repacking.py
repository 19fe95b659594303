"""Repacks videos that are read by locked-in workers only: what is parsed here are answers of theirs."""

import re
from functools import partial
from typing import Final

import numpy as np

from pipeline.errors import UnsupportedCodec
from pipeline.limits import INPUT_LIMITS, InputLimits
from pipeline.opened import OpenFile, Video, open_file
from pipeline.remux.boxes import Run, fragment
from pipeline.remux.reading import Repacked
from pipeline.remux.samples import Wanted
from pipeline.remux.tables import MAX_SEGMENT_BYTES, Samples, Segment
from pipeline.sandbox import wire
from pipeline.sandbox.client import Sandbox
from pipeline.sandbox.media import about
from pipeline.sandbox.protocol import Collect, Repack

_GB = 1 << 30

#: Bytes of a sample in both tables, a little more than the columns together.
_ROW: Final = 40

#: Longest header: of no track is it more than some hundreds of bytes, and what its codec is set up with.
_MAX_HEADER: Final = 1 << 16

#: Sound has up to so many samples for one picture: those of Opus last 2.5 ms at the least.
_MAX_SOUNDS: Final = 4

#: Ticks beyond this leave no room for arithmetic in 64 bits.
_MAX_TICKS: Final = 1 << 61

_CODECS: Final = re.compile(r"[A-Za-z0-9.]{1,40}(,[A-Za-z0-9.]{1,40})?")

_COLUMNS: Final = {"stamp": "<i8", "size": "<i4", "decoded": "<i8", "offset": "<i8", "sync": "|b1"}


def repack(video: Video, sandbox: Sandbox, limits: InputLimits = INPUT_LIMITS) -> Repacked:
    """What a player gets of a video.

    Raises:
        UnsupportedCodec: browsers cannot be given it as it is.
        VideoError: it cannot be read.
    """
    with open_file(video) as file, about(file):
        worker = sandbox.worker()
        try:
            request = Repack(name=file.name, size_bytes=file.size_bytes, limits=limits, seal=file.seal)
            return worker.ask(
                request,
                Repacked,
                (file.descriptor,),
                timeout_s=sandbox.limits.inspect_s * max(1.0, file.size_bytes / _GB),
                max_bytes=answer_bytes(limits),
                check=lambda seen: checked(seen, limits),
            )
        finally:
            worker.kill()


def segment(
    video: Video, seen: Repacked, number: int, part: Segment, sandbox: Sandbox, limits: InputLimits = INPUT_LIMITS
) -> bytes:
    """A segment of it, whole. `number`: counts from 0. Raises VideoError, and as `require_small`."""
    require_small(part)
    with open_file(video) as file, about(file):
        got = _collected(file, _wanted(seen, part), sandbox, limits)
    pictures, heard = slice(part.start, part.stop), slice(part.sound_start, part.sound_stop)
    count = part.stop - part.start
    runs = [_run(1, seen.video, pictures, got[:count])]
    if seen.sound is not None and heard.stop > heard.start:
        runs.append(_run(2, seen.sound, heard, got[count:]))
    return fragment(number + 1, runs)


def require_small(part: Segment) -> None:
    """Raises UnsupportedCodec: a segment is too large to be made in memory."""
    if part.size_bytes > MAX_SEGMENT_BYTES:
        most = f"the {MAX_SEGMENT_BYTES >> 20} MiB that a segment may have"
        raise UnsupportedCodec(
            f"browsers do not play it as it is: from {part.start_s:.0f} s on until decoding can start again, "
            f"pictures and sound are {part.size_bytes >> 20} MiB, more than {most}"
        )


def _run(track: int, samples: Samples, rows: slice, got: tuple[bytes, ...]) -> Run:
    return Run(
        track=track,
        decoded=int(samples.decoded[rows.start]),
        duration=samples.durations(rows),
        offset=samples.offset[rows],
        sync=samples.sync[rows],
        samples=got,
    )


def _wanted(seen: Repacked, part: Segment) -> Wanted:
    rows, heard = slice(part.start, part.stop), slice(part.sound_start, part.sound_stop)
    if seen.sound is None:
        return Wanted(seen.video.stamp[rows], seen.video.size[rows], np.empty(0, np.int64), np.empty(0, np.int32))
    return Wanted(seen.video.stamp[rows], seen.video.size[rows], seen.sound.stamp[heard], seen.sound.size[heard])


def _collected(file: OpenFile, wanted: Wanted, sandbox: Sandbox, limits: InputLimits) -> tuple[bytes, ...]:
    sizes = [*wanted.video_size.tolist(), *wanted.sound_size.tolist()]
    worker = sandbox.worker()
    try:
        request = Collect(name=file.name, size_bytes=file.size_bytes, limits=limits, seal=file.seal, wanted=wanted)
        max_bytes = min(wire.MAX_BYTES, sum(sizes) + 8 * len(sizes) + wire.MAX_HEAD)
        items = worker.stream(
            request,
            tuple[bytes, ...],
            (file.descriptor,),
            timeout_s=sandbox.limits.clip_s,
            checks=[(max_bytes, partial(_as_long, sizes=sizes))],
        )
        (got,) = items
        return got
    finally:
        worker.kill()


def _as_long(got: tuple[bytes, ...], sizes: list[int]) -> tuple[bytes, ...]:
    if [*map(len, got)] != sizes:
        raise wire.Broken("other samples than were asked for")
    return got


def answer_bytes(limits: InputLimits) -> int:
    """How long an honest answer to `Repack` can be."""
    return min(wire.MAX_BYTES, limits.max_packets * _ROW * (1 + _MAX_SOUNDS) + wire.MAX_HEAD)


def checked(seen: Repacked, limits: InputLimits) -> Repacked:
    """`seen`, found to be what an honest worker could say. Raises wire.Broken."""
    tracks = [seen.video] if seen.sound is None else [seen.video, seen.sound]
    most = limits.max_packets
    right = (
        len(seen.header) <= _MAX_HEADER
        and _CODECS.fullmatch(seen.codecs) is not None
        and all(_is_track(track, most * _MAX_SOUNDS) for track in tracks)
        and bool(seen.video.sync[0])
        and len(seen.video) <= most
        and 0 < seen.width <= 1 << 16
        and 0 < seen.height <= 1 << 16
    )
    if not right:
        raise wire.Broken("what a player would be told makes no sense")
    return seen


def _is_track(track: Samples, most: int) -> bool:
    if any(getattr(track, name).dtype.str != kind for name, kind in _COLUMNS.items()):
        return False
    return (
        1 <= len(track) <= most
        and 0 < track.timescale < 1 << 32
        and int(track.size.min()) >= 1
        and int(track.decoded[0]) >= 0
        and bool((np.diff(track.decoded) > 0).all())
        and int(track.decoded[-1]) < track.end < _MAX_TICKS
        and bool((np.diff(track.decoded, append=track.end) < 1 << 32).all())
        and int(track.offset.min()) >= 0
        and int(track.offset.max()) < 1 << 31
        and 0 <= track.delay < 1 << 31
        and int(np.abs(track.stamp).max()) < _MAX_TICKS
    )
