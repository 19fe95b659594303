"""Reads what repacking needs of a video: the times of all its packets, and what they are set up with."""

import io
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from pipeline.bitstream import is_idr, length_prefix
from pipeline.container import main_sound, open_video
from pipeline.errors import UnsupportedCodec
from pipeline.limits import InputLimits
from pipeline.opened import OpenFile
from pipeline.packets import Beside, read_packets
from pipeline.remux import boxes
from pipeline.remux.fitting import why_not_cuts, why_not_pictures, why_not_sound
from pipeline.remux.playable import told, why_not
from pipeline.remux.tables import Samples, pictures, rows_of, segments, sounds


@dataclass(frozen=True, slots=True)
class Repacked:
    """A video as a player gets it."""

    header: bytes
    """What comes before all segments: `ftyp` and `moov`."""
    codecs: str
    """As browsers are told."""
    video: Samples
    sound: Samples | None
    width: int
    height: int


def repacked(file: OpenFile, limits: InputLimits) -> Repacked:
    """Read all packets of a video.

    Raises:
        UnsupportedCodec: browsers cannot be given it as it is.
        VideoError: as `read_packets`.
    """
    with open_video(file, limits) as (container, stream):
        sound = main_sound(container)
        hearing = _Hearing(limits.max_packets)
        codec, name = stream.codec_context.codec.canonical_name, sound and sound.codec_context.codec.canonical_name
        looking = _Looking(codec, stream.codec_context.extradata)
        beside = None if sound is None else Beside(sound, hearing.feed)
        index, first = read_packets(file, container, stream, limits, beside, looking.look)
        _require(file, why_not(container.format.name, codec, first.format.name, name))
    _require(file, why_not_pictures(index, np.array(looking.discarded, bool)))
    video = pictures(index)
    if video is not None and codec == "h264":
        idr = np.array(looking.idr, bool)[rows_of(index)]
        _require(file, why_not_cuts(np.array([part.start for part in segments(video, None)]), idr))
        video = replace(video, sync=video.sync & idr)
    with open_video(file, limits) as (container, stream):
        sound = main_sound(container)
        heard = hearing.heard()
        tracks = [stream] if sound is None or heard is None else [stream, sound]
        names = [told(each.codec_context.codec.canonical_name, each.codec_context.extradata or b"") for each in tracks]
        if video is None or None in names:
            raise UnsupportedCodec(f"{file.name}: what its codec is set up with, or its times, make no sense")
        header, rates = _header(tracks, video, first.format.name, index.codec.geometry.pixel_aspect)
    samples = None
    if sound is not None and heard is not None:
        base = Fraction(sound.time_base or Fraction(1, rates[1]))
        found = sounds(index, *heard, base, rates[1])
        if found is None:
            # Silent from the beginning to the end of the pictures: a track without a sample is no track.
            with open_video(file, limits) as (_, stream):
                header, _ = _header([stream], video, first.format.name, index.codec.geometry.pixel_aspect)
                del names[1:]
        else:
            samples, lengths = found
            beyond_s = float(int(heard[0].max()) * base - index.end * index.time_base)
            _require(file, why_not_sound(video, samples, lengths, beyond_s if index.shown.sum() == 1 else 0.0))
    return Repacked(header, ",".join(filter(None, names)), video, samples, stream.width, stream.height)


def _require(file: OpenFile, reason: str | None) -> None:
    """Raises UnsupportedCodec: for that reason."""
    if reason is not None:
        raise UnsupportedCodec(f"{file.name}: browsers do not play it as it is: {reason}")


class _Looking:
    """What is kept of the packets of the pictures beside their index."""

    def __init__(self, codec: str, setup: bytes | None) -> None:
        self._prefix = length_prefix(codec, setup) if codec == "h264" else None
        self.discarded, self.idr = bytearray(), bytearray()
        """Of each, whether an edit list cuts it off, and whether it is an IDR picture."""

    def look(self, packet: Packet) -> None:
        """The next one."""
        self.discarded.append(packet.is_discard)
        self.idr.append(self._prefix is not None and is_idr(memoryview(packet), self._prefix))


class _Hearing:
    """What is kept of the packets of the sound, while those of the pictures are read."""

    def __init__(self, most: int) -> None:
        """`most`: of so many and one more, no further one is kept."""
        self._most = most
        # 24 bytes a packet; lists of numbers would have several times as many.
        self._stamps, self._sizes, self._lengths = array("q"), array("q"), array("q")

    def feed(self, packet: Packet) -> None:
        """The next one."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None and not packet.is_discard and len(self._stamps) <= self._most:
            self._stamps.append(stamp)
            self._sizes.append(packet.size)
            self._lengths.append(packet.duration or 0)

    def heard(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """int64, int32, int64 [N]: their times, sizes and lengths; None where there are none."""
        if not self._stamps:
            return None
        stamps, sizes, lengths = (np.array(column, np.int64) for column in (self._stamps, self._sizes, self._lengths))
        return stamps, sizes.astype(np.int32), lengths


def _header(
    tracks: "Sequence[VideoStream | AudioStream]", video: Samples, pixels: str, aspect: tuple[int, int]
) -> tuple[bytes, list[int]]:
    """(what comes before all segments, ticks in a second of each track).

    Args:
        pixels, aspect: format and aspect of pixels: where nothing is decoded, FFmpeg does not know them.
    """
    out = io.BytesIO()
    options = {
        "movflags": "empty_moov+default_base_moof",
        "use_editlist": "0",
        "video_track_timescale": str(video.timescale),
    }
    with cast(OutputContainer, av.open(out, "w", format="mp4", options=options)) as container:
        for track in tracks:
            made = container.add_stream_from_template(track, opaque=True)
            if isinstance(made, VideoStream):
                made.codec_context.pix_fmt = pixels
                made.codec_context.sample_aspect_ratio = Fraction(*aspect)
        container.start_encoding()
    header = boxes.delayed(boxes.with_bits(boxes.header_of(out.getvalue())), video.delay)
    return header, boxes.clocks(header)
