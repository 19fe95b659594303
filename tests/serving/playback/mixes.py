"""Films of any codec, sound and container, as they come from elsewhere: late, with gaps, in wide pixels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.stream import Disposition
from av.video.frame import PictureType

from pipeline.synthesis import own_priority
from tests.serving.playback.films import FPS, HEIGHT, WIDTH, colour_at

RATE_HZ: Final = 48_000

#: How each encoder takes its samples.
_FORMS: Final = {"aac": "fltp", "libopus": "flt", "flac": "s16", "libmp3lame": "fltp", "ac3": "fltp"}

#: Options of encoders, for speed.
QUICK: Final = {
    "libx264": {"preset": "ultrafast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
}


@dataclass(frozen=True, slots=True)
class Tone:
    """A track of sound."""

    codec: str = "aac"
    hz: float = 440.0
    start_s: float = 0.0
    seconds: float = 6.0
    hole: tuple[float, float] | None = None
    """Between these times, seconds, its packets are left out."""
    default: bool = True


@dataclass(frozen=True, slots=True)
class Mix:
    """A film to be written."""

    codec: str = "libx264"
    sound: Sequence[Tone] = (Tone(),)
    times_s: Sequence[float] = tuple(number / FPS for number in range(6 * FPS))
    aspect: Fraction = Fraction(1)
    gop: int = 50
    options: dict[str, str] = field(default_factory=dict)
    forced_s: Sequence[float] = ()
    """Times of pictures that are to be keyframes."""


def written(path: Path, mix: Mix) -> Path:
    """Write it: each half second another colour, as in `films`."""
    with own_priority(), av.open(str(path), "w", container_options={"strict": "-2"}) as out:
        stream: Any = out.add_stream(mix.codec, rate=FPS, options=QUICK[mix.codec] | mix.options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        context = stream.codec_context
        # VP9 has no finer clock than that of its container.
        context.time_base = Fraction(1, FPS if mix.codec == "libvpx-vp9" else 90_000)
        context.gop_size, context.thread_count, context.sample_aspect_ratio = mix.gop, 1, mix.aspect
        tracks = [out.add_stream(tone.codec, rate=RATE_HZ, layout="stereo") for tone in mix.sound]
        for track, tone in zip(tracks, mix.sound, strict=True):
            track.disposition = Disposition.default if tone.default else Disposition(0)
        packets = list(_pictures(stream, mix))
        for track, tone in zip(tracks, mix.sound, strict=True):
            packets += _heard(track, tone)
        for packet in sorted(packets, key=lambda each: each.dts * each.time_base):
            out.mux(packet)
    return path


def _pictures(stream: Any, mix: Mix) -> Iterable[Any]:
    for time_s in mix.times_s:
        pixels = np.full((HEIGHT, WIDTH, 3), colour_at(time_s), np.uint8)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p", dst_colorspace="itu601")
        base = stream.codec_context.time_base
        frame.pts, frame.time_base = round(time_s / base), base
        if time_s in mix.forced_s:
            frame.pict_type = PictureType.I
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _heard(stream: Any, tone: Tone) -> Iterable[Any]:
    wave = 0.3 * np.sin(2 * np.pi * tone.hz * np.arange(round(tone.seconds * RATE_HZ)) / RATE_HZ)
    form = _FORMS[tone.codec]
    for first in range(0, len(wave), RATE_HZ // 10):
        both: Any = np.stack([wave[first : first + RATE_HZ // 10]] * 2)
        both = both if form == "fltp" else both.T.reshape(1, -1)
        both = (both * 32767).astype(np.int16) if form == "s16" else both.astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(both), format=form, layout="stereo")
        frame.sample_rate, frame.time_base = RATE_HZ, Fraction(1, RATE_HZ)
        frame.pts = first + round(tone.start_s * RATE_HZ)
        yield from _kept(stream.encode(frame), tone)
    yield from _kept(stream.encode(None), tone)


def _kept(packets: Iterable[Any], tone: Tone) -> Iterable[Any]:
    for packet in packets:
        if tone.hole is None or not tone.hole[0] < packet.pts * packet.time_base < tone.hole[1]:
            yield packet
