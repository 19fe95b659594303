"""The sound of a video as plain samples, from its first picture on. In a locked-in process: it decodes."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from pipeline.audio import decoded
from pipeline.container import open_video
from pipeline.limits import InputLimits
from pipeline.opened import OpenFile

RATE_HZ: Final = 48_000
CHANNELS: Final = 2

#: Samples of each channel that are handed on at once.
_CHUNK: Final = RATE_HZ

#: Packets whose times are off by less than this follow one another: resamplers and containers round.
_SLACK: Final = RATE_HZ // 20


def samples(file: OpenFile, *, start_s: float, duration_s: float, limits: InputLimits) -> Iterator[bytes]:
    """int16, interleaved, of two channels at `RATE_HZ`: as many as the video is long, at the most; silence where
    packets are missing or broken.

    Args:
        start_s: when the video's own time line begins, in the container's clock.
        duration_s: how long it is.

    Raises:
        VideoError: as `open_video` and `audio.decoded`.
    """
    at, end = 0, round(duration_s * RATE_HZ)
    with open_video(file, limits) as (container, _):
        if not container.streams.audio:
            return
        for heard, time_s in decoded(
            container, container.streams.audio[0], rate_hz=RATE_HZ, layout="stereo", form="s16"
        ):
            if heard is None:
                continue
            heard = heard.reshape(-1, CHANNELS)
            place = at if time_s is None else round((time_s - start_s) * RATE_HZ)
            if abs(place - at) > _SLACK or not at:
                # Before the first picture, or heard already.
                heard = heard[max(0, at - place) :]
                for silent in range(at, min(place, end), _CHUNK):
                    missing = min(_CHUNK, min(place, end) - silent)
                    yield bytes(missing * CHANNELS * 2)
                    at += missing
            for first in range(0, len(heard), _CHUNK):
                part = heard[first : min(first + _CHUNK, first + end - at)]
                if len(part):
                    yield np.ascontiguousarray(part, "<i2").tobytes()
                    at += len(part)
            if at >= end:
                return
