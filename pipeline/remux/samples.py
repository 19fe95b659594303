"""Reads the bytes of a segment's samples, whenever it is asked for."""

import contextlib
from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, cast

import numpy as np
from av.error import FFmpegError

from pipeline.container import main_sound, open_video
from pipeline.errors import CorruptVideo
from pipeline.limits import InputLimits
from pipeline.opened import OpenFile

#: How far before a segment is looked for it, seconds; None: from the beginning. Sound may lie before its pictures.
_BACK_S: Final = (0.0, 2.0, 15.0, None)

#: Packets behind all that is looked for after which it is looked for no longer.
_BEHIND: Final = 500


@dataclass(frozen=True, slots=True)
class Wanted:
    """Samples whose bytes are wanted."""

    video_stamp: np.ndarray
    video_size: np.ndarray
    sound_stamp: np.ndarray
    sound_size: np.ndarray
    """int64 [N], int32 [N], see `Samples`."""


def read_samples(file: OpenFile, wanted: Wanted, limits: InputLimits) -> tuple[bytes, ...]:
    """The bytes of samples, those of pictures first.

    Raises:
        CorruptVideo: they are not there; it is another file than it was.
        VideoError: as `open_video`.
    """
    for back_s in _BACK_S:
        found = _read_from(file, wanted, limits, back_s)
        if found is not None:
            return found
    raise CorruptVideo(f"{file.name}: it holds other packets than it did; did it change meanwhile?")


def _read_from(file: OpenFile, wanted: Wanted, limits: InputLimits, back_s: float | None) -> tuple[bytes, ...] | None:
    count = len(wanted.video_stamp)
    found: list[bytes | None] = [None] * (count + len(wanted.sound_stamp))
    places: dict[tuple[bool, int, int], list[int]] = defaultdict(list)
    for place, key in enumerate(zip(wanted.video_stamp.tolist(), wanted.video_size.tolist(), strict=True)):
        places[True, *key].append(place)
    for place, key in enumerate(zip(wanted.sound_stamp.tolist(), wanted.sound_size.tolist(), strict=True)):
        places[False, *key].append(count + place)
    last = int(wanted.video_stamp.max()) if count else 0
    left, behind = len(found), 0
    with open_video(file, limits) as (container, stream):
        sound = main_sound(container) if len(wanted.sound_stamp) else None
        streams = [stream] if sound is None else [stream, sound]
        with contextlib.suppress(FFmpegError):
            if back_s is not None:
                base = Fraction(stream.time_base or Fraction(1, 1000))
                container.seek(int(wanted.video_stamp[0]) - round(back_s / base), stream=stream)
            for packet in container.demux(streams):
                stamp = packet.pts if packet.pts is not None else packet.dts
                if not packet.size or stamp is None:
                    continue
                is_picture = packet.stream_index == stream.index
                if packet.is_discard and not is_picture:
                    continue
                if at := places.get((is_picture, stamp, packet.size)):
                    found[at.pop(0)] = bytes(packet)
                    left -= 1
                elif is_picture and stamp > last:
                    behind += 1
                if not left or behind > _BEHIND:
                    break
    return None if left else tuple(cast("list[bytes]", found))
