"""Encodes pictures and samples, which others have decoded, as an MP4 of H.264 and AAC whose index comes first."""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from pipeline.decode.base import Decoder
from pipeline.errors import CorruptVideo, EncodeFailed
from pipeline.media import Inspected, Media
from pipeline.pictures import at_most, frames
from pipeline.rendition.fronted import Fronted
from pipeline.rendition.sound import CHANNELS, RATE_HZ

#: Longer side, pixels: 1080p. Every device decodes that, and encoding it costs a quarter of 4K.
LONG_SIDE: Final = 1920

#: Decoding can start with the first picture that is shown so many seconds after the last one of these: HLS cuts there.
#: The encoder counts pictures, of which there may be few for long.
_GROUP_S: Final = 4
_NEVER: Final = 1 << 20

#: Ticks of its clock in a second.
_CLOCK: Final = 90_000

#: Pictures that wait for others that are shown before them: as many as a decoder may hold back, and a few.
_REORDERED: Final = 24

#: Pictures a second that the encoder is told of, at least and at most: it reckons with that where it spends its bits.
#: What is shown when is what each picture says.
_RATES: Final = (1, 240)

#: Least pixels of either side: colours are halved.
_LEAST: Final = 2

#: x264: looks as good as most videos do, at several times the speed of its default. Pictures come in the order in which
#: they are shown, so that what is written needs no edit list. Browsers start with IDR pictures only.
_X264: Final = {"preset": "veryfast", "crf": "22", "bf": "0", "forced-idr": "1"}

_SOUND_BPS: Final = 128_000


@dataclass(frozen=True, slots=True)
class Encoded:
    """What came of it."""

    width: int
    height: int
    frames: int
    head: bytes = field(repr=False)
    """What comes before all that was written."""


def encode(
    media: Media,
    decoder: Decoder,
    inspected: Inspected,
    sound: Iterator[bytes] | None,
    write: Callable[[bytes], object],
) -> Encoded:
    """Encode a whole video, upright, in square pixels and 8 bits, no larger than `LONG_SIDE`; each picture is shown
    when it was. Holds some pictures at a time.

    Args:
        sound: as `sound.samples` gives it, or None.
        write: takes what comes of it, piece by piece, all but its `head`.

    Raises:
        CorruptVideo: none of its pictures can be decoded.
        EncodeFailed: FFmpeg does not encode it.
        VideoError: as `pictures.frames`; and what `write` raises.
    """
    file: Any = Fronted(write)
    try:
        width, height, count = _encode(media, decoder, inspected, sound, file)
    except FFmpegError as error:
        # Some of them are OSErrors, though nothing is wrong with any file.
        raise EncodeFailed(f"it cannot be encoded: {error.strerror}") from error
    return Encoded(width, height, count, file.head())


def _encode(
    media: Media, decoder: Decoder, inspected: Inspected, sound: Iterator[bytes] | None, file: Any
) -> tuple[int, int, int]:
    """(width, height, how many pictures there are)."""
    width, height = (max(_LEAST, side & ~1) for side in at_most(inspected.info, LONG_SIDE))
    fps = inspected.info.average_fps or 25
    with cast(OutputContainer, av.open(file, "w", format="mp4")) as out:
        rate = Fraction(min(max(fps, _RATES[0]), _RATES[1])).limit_denominator(1001)
        picture = cast(VideoStream, out.add_stream("libx264", rate=rate, options=dict(_X264)))
        picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
        context = picture.codec_context
        context.time_base, context.gop_size = Fraction(1, _CLOCK), _NEVER
        hd = height >= 720
        # ITU-T H.273: BT.709, or BT.601 as small pictures have it.
        context.color_primaries = context.color_trc = context.colorspace = 1 if hd else 6
        heard = None
        if sound is not None:
            heard = _Sound(out, cast(AudioStream, out.add_stream("aac", rate=RATE_HZ, layout="stereo")), sound)
        count, due = 0, 0
        for time, frame in _in_order(media, decoder, inspected, (width, height), "itu709" if hd else "itu601"):
            if heard is not None:
                heard.until(time / _CLOCK)
            frame.pts, frame.time_base = time, Fraction(1, _CLOCK)
            if time >= due:
                frame.pict_type, due = PictureType.I, time + _GROUP_S * _CLOCK
            out.mux(picture.encode(frame))
            count += 1
        if not count:
            raise CorruptVideo("none of its pictures can be decoded")
        if heard is not None:
            heard.until(float("inf"))
        out.mux(picture.encode(None))
    return width, height, count


class _Sound:
    """Goes along with the pictures."""

    def __init__(self, out: OutputContainer, stream: AudioStream, samples: Iterator[bytes]) -> None:
        self._out, self._stream, self._samples = out, stream, samples
        stream.codec_context.bit_rate = _SOUND_BPS
        self._at = 0
        self._over = False

    def until(self, time_s: float) -> None:
        """Encode it up to a time."""
        while not self._over and self._at < time_s * RATE_HZ:
            chunk = next(self._samples, None)
            if chunk is None:
                self._over = True
                self._mux(None)
                return
            values = np.frombuffer(chunk, "<i2").reshape(1, -1)
            frame = AudioFrame.from_ndarray(values, format="s16", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, self._at, Fraction(1, RATE_HZ)
            self._mux(frame)
            self._at += values.size // CHANNELS

    def _mux(self, frame: AudioFrame | None) -> None:
        for packet in self._stream.encode(frame):
            # AAC begins with a packet of what was before the first sample, which is nothing; to make room for it, the
            # muxer would have all pictures later than they are.
            if packet.pts is None or packet.pts >= 0:
                self._out.mux(packet)


def _in_order(
    media: Media, decoder: Decoder, inspected: Inspected, size: tuple[int, int], matrix: str
) -> Iterator[tuple[int, VideoFrame]]:
    """(when it is shown, in ticks; the picture), one after the other."""
    index = inspected.index
    waiting: list[tuple[int, int, VideoFrame]] = []
    last = -1

    def ready(most: int) -> Iterator[tuple[int, VideoFrame]]:
        nonlocal last
        while len(waiting) > most:
            time, _, frame = heapq.heappop(waiting)
            # No two at once.
            last = max(time, last + 1)
            yield last, frame

    for row, pixels in frames(media, decoder, index, index.display_order, size):
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=matrix)
        time = round((int(index.pts[row]) - index.origin) * index.time_base * _CLOCK)
        heapq.heappush(waiting, (time, row, frame))
        yield from ready(_REORDERED)
    yield from ready(0)
