"""The sound of a video as plain samples, from its first picture on. In a locked-in process: it decodes."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from pipeline.audio import decoded
from pipeline.container import main_sound, open_video
from pipeline.limits import InputLimits
from pipeline.opened import OpenFile

RATE_HZ: Final = 48_000
CHANNELS: Final = 2

#: Samples of each channel that are handed on at once.
_CHUNK: Final = RATE_HZ

#: Packets whose times are off by less than this follow one another: resamplers and containers round.
_SLACK: Final = RATE_HZ // 20


def samples(file: OpenFile, *, start_s: float, duration_s: float, limits: InputLimits) -> Iterator[bytes]:
    """int16, interleaved, of two channels at `RATE_HZ`: as many as the video is long; silence where packets are
    missing or broken, before the first and after the last.

    Args:
        start_s: when the video's own time line begins, in the container's clock.
        duration_s: how long it is.

    Raises:
        VideoError: as `open_video` and `audio.decoded`.
    """
    at, end = 0, round(duration_s * RATE_HZ)
    with open_video(file, limits) as (container, _):
        track = main_sound(container)
        if track is None:
            return
        for heard, time_s in decoded(container, track, rate_hz=RATE_HZ, layout="stereo", form="s16"):
            if heard is None:
                continue
            heard = heard.reshape(-1, CHANNELS)
            place = at if time_s is None else round((time_s - start_s) * RATE_HZ)
            if abs(place - at) > _SLACK or not at:
                # Before the first picture, or heard already.
                heard = heard[max(0, at - place) :]
                for count in _parts(min(place, end) - at):
                    yield bytes(count * CHANNELS * 2)
                    at += count
            for first in range(0, len(heard), _CHUNK):
                part = heard[first : min(first + _CHUNK, first + end - at)]
                if len(part):
                    yield np.ascontiguousarray(part, "<i2").tobytes()
                    at += len(part)
            if at >= end:
                return
        # Browsers play no further than both go.
        for count in _parts(end - at):
            yield bytes(count * CHANNELS * 2)


def _parts(count: int) -> Iterator[int]:
    """So many samples, as parts that are handed on at once."""
    for first in range(0, count, _CHUNK):
        yield min(_CHUNK, count - first)
