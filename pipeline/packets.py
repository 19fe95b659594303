"""The packet index: what a video is made of, read by decoding its first picture only (about 1 % of the decode cost)."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pipeline.bitstream import CLASSIFIERS, Traits, classifier, length_prefix
from pipeline.clips import CodecParameters
from pipeline.container import STILL_CODECS, is_matroska, open_video, too_large
from pipeline.decode.color import refuse_unknown_matrix
from pipeline.errors import CorruptVideo, Encrypted, LimitExceeded, NoVideoStream, UnsupportedCodec
from pipeline.limits import INPUT_LIMITS, InputLimits
from pipeline.opened import OpenFile, Video, open_file
from pipeline.opening import FirstPicture, parameters_of

#: Codecs that have their palette in their own data. Others get it beside their packets, where a Clip has no place.
_PALETTE_INSIDE = frozenset({"msrle", "png"})

#: Codecs that have none, so that it is not looked for at each of their packets.
_PALETTE_NEVER = frozenset(CLASSIFIERS) | {"av1", "mjpeg"}

#: No video is longer; one that claims to be has damaged time stamps.
MAX_SPAN_S = 7 * 86_400

#: Time stamps beyond this leave no room for arithmetic in 64 bits.
_MAX_STAMP = 1 << 61

#: Pictures that H.264 and HEVC may hold back for reordering at most.
MAX_REORDER_DEPTH = 16

#: An MPEG-4 packet up to this size holds no picture of its own (FFmpeg's MAX_NVOP_SIZE).
_EMPTY_VOP_BYTES = 19


@dataclass(frozen=True, slots=True)
class Beside:
    """A stream beside the pictures, read along with them."""

    stream: Stream
    feed: Callable[[Packet], None]
    """Gets each of its packets that has bytes, in the order of the container."""


@dataclass(frozen=True, slots=True)
class PacketIndex:
    """One row a packet of the video stream, in decode order."""

    pts: np.ndarray
    """int64 [P], presentation times in `time_base` units, as the container has them or, where it has none, as the
    order of the packets and the rate give them."""
    size: np.ndarray
    """int32 [P], bytes."""
    keyframe: np.ndarray
    """bool [P], flagged by the container as a point where decoding can start."""
    entry: np.ndarray
    """bool [P], a keyframe that is clean in fact: what follows it in display order needs nothing before it."""
    disposable: np.ndarray
    """bool [P], no other frame refers to it."""
    shown: np.ndarray
    """bool [P], a frame of this packet is displayed (not hidden by the codec, nor cut off by an edit list)."""
    packed: bool
    """A picture may come out with the packet after its own (MPEG-4 "packed B-frames")."""
    time_base: Fraction
    """Seconds per unit of `pts`."""
    origin: int
    """pts of the first shown frame: zero of the video's own time line."""
    end: int
    """pts at which the last shown frame ends."""
    codec: CodecParameters

    def __post_init__(self) -> None:
        lengths = {len(a) for a in (self.pts, self.size, self.keyframe, self.entry, self.disposable, self.shown)}
        if len(lengths) != 1:
            raise ValueError(f"columns of a packet index must have one length, not {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.pts)

    def __repr__(self) -> str:
        return (
            f"PacketIndex(packets={len(self)}, shown={int(self.shown.sum())}, keyframes={int(self.keyframe.sum())}, "
            f"duration_s={self.duration_s:.3f})"
        )

    @property
    def times_s(self) -> np.ndarray:
        """float64 [P], seconds on the video's own time line. Made anew each time: for few rows, see `times_of`."""
        return self.times_of(slice(None))

    def times_of(self, rows: np.ndarray | slice) -> np.ndarray:
        """float64, seconds on the video's own time line, of some rows."""
        return (self.pts[rows] - self.origin) * float(self.time_base)

    @property
    def duration_s(self) -> float:
        """Seconds from the first shown frame to the end of the last."""
        return float((self.end - self.origin) * self.time_base)

    @property
    def display_order(self) -> np.ndarray:
        """int64 [number shown], rows of the shown packets by time."""
        rows = np.flatnonzero(self.shown)
        return rows[np.argsort(self.pts[rows], kind="stable")]


def read_index(video: Video, limits: InputLimits = INPUT_LIMITS) -> PacketIndex:
    """`read_packets` of a file that is not open yet."""
    with open_file(video) as file, open_video(file, limits) as (container, stream):
        return read_packets(file, container, stream, limits)[0]


def read_packets(
    file: OpenFile,
    container: InputContainer,
    stream: VideoStream,
    limits: InputLimits,
    beside: Beside | None = None,
    look: Callable[[Packet], None] | None = None,
) -> tuple[PacketIndex, VideoFrame]:
    """Read every packet of a freshly opened video's main stream, decoding the first picture, which alone carries
    rotation; returns that too. Memory: about 30 bytes a packet when done, some 400 while reading.

    Args:
        beside: another stream, whose packets are wanted too, and what is called with each: reading a file costs more
            than looking at what it holds.
        look: called with each packet of the pictures, that of a row of the index.

    Raises:
        CorruptVideo: the stream holds no picture, or none that can be decoded.
        NoVideoStream: it holds one, in a codec of stills.
        UnsupportedCodec: its colours are kept in a way that is not read here.
        Encrypted: its pictures are.
        LimitExceeded: more pictures, or larger ones, than `limits` allow.
    """
    codec = stream.codec_context.codec.canonical_name
    traits_of = classifier(codec)
    prefix = length_prefix(codec, stream.codec_context.extradata)
    rows: list[tuple[int | None, int | None, int, int, bool, bool]] = []
    traits: list[Traits] = []
    opening = FirstPicture(stream.codec_context)
    palette_apart = codec not in _PALETTE_INSIDE | _PALETTE_NEVER
    total_bytes, max_bytes = 0, limits.max_reread * file.size_bytes
    for packet in _packets_of(container, stream, beside):
        opening.feed(packet)
        if len(rows) == limits.max_packets:
            raise LimitExceeded(
                f"{file.name}: more than {limits.max_packets} pictures; so many are not read (max_packets)"
            )
        # To ask for one kind costs four times as much as to look whether there is any.
        has_more = next(packet.iter_sidedata(), None) is not None
        if has_more and packet.has_sidedata("encryption_info"):
            # Of tracks that do not say so in their header: the decoder would take the cipher for a picture.
            raise Encrypted(f"{file.name}: its pictures are encrypted; decrypt it first, no keys are kept here")
        if palette_apart and has_more and packet.has_sidedata("palette"):
            raise UnsupportedCodec(f"{file.name}: {codec} with a palette that the container keeps apart")
        total_bytes += packet.size
        if total_bytes > max_bytes:
            over = f"its pictures are read more than {limits.max_reread:g} times over (max_reread)"
            raise LimitExceeded(f"{file.name}: {over}")
        rows.append(_row(packet))
        if look is not None:
            look(packet)
        traits.append(traits_of(memoryview(packet), prefix, packet.is_keyframe))
    if not rows:
        raise CorruptVideo(f"{file.name}: the video stream holds no pictures")
    if len(rows) == 1 and (codec in STILL_CODECS or stream.disposition & Disposition.still_image):
        raise NoVideoStream(f"{file.name}: a still picture ({codec}), not a video")
    first = opening.picture()
    if first is None:
        raise CorruptVideo(f"{file.name}: none of the first pictures can be decoded")
    refuse_unknown_matrix(first)
    index = _assemble(file.name, container, stream, rows, traits, first)
    area = math.prod(index.codec.geometry.shown_size)
    if area > limits.max_pixels:
        raise LimitExceeded(f"{file.name}: {too_large(area, limits)}")
    return index, first


def pictures_of(container: InputContainer, stream: VideoStream) -> Iterator[Packet]:
    """The packets that are rows of the index, in its order, up to the end or to where the container can no longer be
    read: what lies behind counts as cut off."""
    return _packets_of(container, stream, None)


def _packets_of(container: InputContainer, stream: VideoStream, beside: Beside | None) -> Iterator[Packet]:
    streams = [stream] if beside is None else [stream, beside.stream]
    with contextlib.suppress(FFmpegError):
        for packet in container.demux(streams):
            if not packet.size:
                continue
            if beside is None or packet.stream_index == stream.index:
                yield packet
            else:
                beside.feed(packet)


def _row(packet: Packet) -> tuple[int | None, int | None, int, int, bool, bool]:
    return packet.pts, packet.dts, packet.duration or 0, packet.size, packet.is_keyframe, packet.is_discard


def _assemble(
    name: str, container: InputContainer, stream: VideoStream, rows: list, traits: list[Traits], first: VideoFrame
) -> PacketIndex:
    pts_list, dts_list, durations, sizes, keyframes, discards = zip(*rows, strict=True)
    time_base = Fraction(stream.time_base or Fraction(1, 1000))
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    pts = _presentation_times(name, pts_list, dts_list, max(1, round(1 / rate / time_base)))
    if (int(pts.max()) - int(pts.min())) * time_base > MAX_SPAN_S:
        raise CorruptVideo(f"{name}: its time stamps span more than {MAX_SPAN_S // 86_400} days: they are damaged")
    entry = np.array([t.entry for t in traits])
    keyframe = np.array(keyframes, bool)
    if not entry.any():
        # No clean entry anywhere (gradual refresh only): the stream is one long group from its first packet.
        entry[0] = True
    entry[: int(np.argmax(entry))] = False
    top_layer = max(t.layer for t in traits)
    packed = np.array([t.packed for t in traits])
    # Without time stamps nothing tells it: as much as any codec allows then.
    depth = MAX_REORDER_DEPTH if None in pts_list else _reorder_depth(pts)
    pts = _unpacked_times(pts, packed, np.array(sizes))
    disposable = np.array([t.disposable and t.layer == top_layer for t in traits]) & ~packed.any()
    shown = ~np.array([t.hidden or discard for t, discard in zip(traits, discards, strict=True)])
    shown &= ~_unreachable(pts, entry, np.array([t.skipped_at_start for t in traits]))
    if not shown.any():
        raise CorruptVideo(f"{name}: the video stream shows no picture")
    are_told = stream.average_rate is not None or not is_matroska(container)
    return PacketIndex(
        pts=pts,
        size=np.array(sizes, np.int32),
        keyframe=keyframe,
        entry=entry,
        disposable=disposable,
        shown=shown,
        packed=bool(packed.any()),
        time_base=time_base,
        origin=int(pts[shown].min()),
        end=_end(pts, np.array(durations, np.int64) * are_told, shown),
        codec=parameters_of(stream, first, depth),
    )


def _presentation_times(name: str, pts: tuple, dts: tuple, frame: int) -> np.ndarray:
    """int64 [P]. Where the container gives no pts, dts stands in; where it gives neither, the order and the rate."""
    times = np.empty(len(pts), np.int64)
    following = 0
    for row, (shown_at, decoded_at) in enumerate(zip(pts, dts, strict=True)):
        value = shown_at if shown_at is not None else decoded_at if decoded_at is not None else following
        if abs(value) >= _MAX_STAMP:
            raise CorruptVideo(f"{name}: packet {row} has a damaged time stamp")
        times[row] = value
        following = value + frame
    return times


def _reorder_depth(pts: np.ndarray) -> int:
    """The most packets that come before one whose picture is shown before theirs. For the packet where it is reached,
    it is how far the packet lies behind its place in display order: nothing that follows is shown before it."""
    places = np.argsort(np.argsort(pts, kind="stable"), kind="stable")
    return min(int((np.arange(len(pts)) - places).max()), MAX_REORDER_DEPTH)


def _unpacked_times(pts: np.ndarray, packed: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Times of MPEG-4 "packed B-frames": the second picture of a packet comes out with the empty packet after it, but
    is shown before the first one; the container counts packets, so the two times change places."""
    pairs = np.flatnonzero(packed[:-1] & (size[1:] <= _EMPTY_VOP_BYTES))
    times = pts.copy()
    times[pairs], times[pairs + 1] = pts[pairs + 1], pts[pairs]
    return times


def _unreachable(pts: np.ndarray, entry: np.ndarray, skipped_at_start: np.ndarray) -> np.ndarray:
    """bool [P]: pictures before the first entry point, or shown before it and referring to what the file lacks."""
    first = int(np.argmax(entry))
    lost = np.zeros(len(pts), bool)
    lost[:first] = True
    later = np.flatnonzero(entry[first + 1 :])
    stop = first + 1 + int(later[0]) if len(later) else len(pts)
    group = slice(first + 1, stop)
    lost[group] = skipped_at_start[group] & (pts[group] < pts[first])
    return lost


def _end(pts: np.ndarray, durations: np.ndarray, shown: np.ndarray) -> int:
    """When the last shown picture ends: its own duration, or where it has none the median distance of pictures."""
    last = int(np.flatnonzero(shown)[np.argmax(pts[shown])])
    if durations[last] > 0:
        return int(pts[last] + durations[last])
    gaps = np.diff(np.sort(pts[shown]))
    gaps = gaps[gaps > 0]
    return int(pts[last] + (np.median(gaps) if len(gaps) else 1))
