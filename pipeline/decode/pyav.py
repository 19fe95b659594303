"""Decodes Clips on the CPU with FFmpeg's own decoders, through PyAV."""

import contextlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import av
import numpy as np
from av.codec.codec import UnknownCodecError
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from pipeline.allocator import keep_freed_pictures
from pipeline.clips import Clip, CodecParameters
from pipeline.decode.base import COUNTERS, Decoded
from pipeline.decode.color import to_rgb
from pipeline.decode.pool import Pool
from pipeline.errors import DecoderStateLost, UnsupportedCodec
from pipeline.frames import FrameBatch, Strip
from pipeline.thumbs import ALONG_S, THUMB_SIZE, thumb

#: Codecs whose software decoder has another name than the codec.
_DECODERS = {"av1": "libdav1d"}

#: Chains whose decoders are kept between parts; those of requests that were given up are the oldest and go first.
_MAX_PARKED = 32


Allocate = Callable[[tuple[int, ...], type], np.ndarray]
"""(shape, dtype) -> an array."""


@dataclass(frozen=True, slots=True)
class _Open:
    """The state of a chain between its parts."""

    context: VideoCodecContext
    times_s: dict[int, float]
    """Rows whose pictures have not come out yet, and their times."""
    wanted: set[int]
    """Those of them that models are to see."""
    glimpsed: set[int]
    """Those of them whose thumbnails are asked for."""


class PyAVDecoder:
    """One FFmpeg decoder context per chain; each single-threaded, because parallel chains use the cores better."""

    name = "pyav"

    def __init__(self, threads_per_chain: int = 1) -> None:
        keep_freed_pictures()
        self._threads = threads_per_chain
        self.allocate: Allocate = Pool().array
        """Gives the array that the pictures of a Clip are put into; called once a Clip."""
        self._parked: OrderedDict[tuple[str, int], _Open] = OrderedDict()
        self._lock = threading.Lock()

    def decode(self, clip: Clip) -> Decoded:
        """See `Decoder.decode`.

        Raises:
            UnsupportedCodec: this FFmpeg has no decoder for the codec.
        """
        began = time.perf_counter()
        opened = self._open(clip)
        opened.times_s.update(zip(clip.rows, clip.times_s, strict=True))
        opened.wanted.update(clip.wanted)
        opened.glimpsed.update(clip.glimpsed)
        last_s = -math.inf
        most = len(opened.wanted)
        pixels: np.ndarray | None = None
        found: list[tuple[float, int]] = []
        glimpsed: list[tuple[float, np.ndarray]] = []
        for frame in _frames(opened.context, clip):
            row = -1 if frame.pts is None else frame.pts
            # A second picture under one row, or one that is not shown (NaN), is nobody's.
            time_s = opened.times_s.pop(row, math.nan)
            if math.isnan(time_s):
                continue
            if row in opened.wanted:
                opened.wanted.discard(row)
                picture = to_rgb(frame, clip.codec, clip.size)
                if pixels is None:
                    pixels = self.allocate((most, *picture.shape), np.uint8)
                pixels[len(found)] = picture
                found.append((time_s, row))
            if clip.glimpse and (row in opened.glimpsed or not 0 <= time_s - last_s < ALONG_S - 1e-3):
                last_s = time_s
                opened.glimpsed.discard(row)
                glimpsed.append((time_s, thumb(frame)))
        if not clip.last:
            with self._lock:
                self._parked[clip.job, clip.chain] = opened
                while len(self._parked) > _MAX_PARKED:
                    self._parked.popitem(last=False)
        COUNTERS.add(packets=len(clip.packets), frames=len(found))
        frames, rows = _in_order(found, pixels, clip)
        return Decoded(
            frames=frames,
            rows=rows,
            strip=_strip(glimpsed) if clip.glimpse else None,
            decode_s=time.perf_counter() - began,
        )

    def _open(self, clip: Clip) -> _Open:
        if clip.part == 0:
            return _Open(open_codec(clip.codec, self._threads, rough=not clip.exact), {}, set(), set())
        with self._lock:
            opened = self._parked.pop((clip.job, clip.chain), None)
        if opened is None:
            raise DecoderStateLost(f"part {clip.part} of a chain came without the parts before it")
        return opened


def open_codec(codec: CodecParameters, threads: int, *, rough: bool = False) -> VideoCodecContext:
    """A fresh decoder that knows all that the container said.

    A `rough` one leaves out the loop filter: a fifth to a quarter less work for H.264, pictures that are good enough to
    be made small, and no longer exact.

    Raises:
        UnsupportedCodec: this FFmpeg has no decoder for it.
    """
    try:
        context = cast(VideoCodecContext, av.CodecContext.create(_DECODERS.get(codec.name, codec.name), "r"))
    except UnknownCodecError as error:
        raise UnsupportedCodec(f"no decoder for {codec.name} in this FFmpeg") from error
    context.extradata = codec.extradata
    context.width, context.height = codec.width, codec.height
    context.bits_per_coded_sample = codec.bits_per_coded_sample
    context.color_range, context.color_primaries = codec.color_range, codec.color_primaries
    context.color_trc, context.colorspace = codec.color_trc, codec.colorspace
    context.codec_tag = codec.tag
    if rough:
        context.options = {"skip_loop_filter": "all"}
    context.thread_count = threads
    context.reorder_depth = codec.reorder_depth
    return context


def _frames(context: VideoCodecContext, clip: Clip) -> Iterator[VideoFrame]:
    """Every frame that the packets give, each with its row as pts."""
    restarts, keyframes = set(clip.flush_at), set(clip.keyframes)
    for position, (row, data) in enumerate(zip(clip.rows, clip.packets, strict=True)):
        if position in restarts:
            yield from _drain(context, clip.codec.reorder_depth)
        # A packet made from bytes would only borrow them, without the zeroed padding that decoders read into
        # (measured: wrong MPEG-4 pictures); one made by size has it.
        packet = av.Packet(len(data))
        packet.update(data)
        # The row rides along as the time stamp: decoders hand it out with the picture that the packet made, whatever
        # order they show pictures in, so a frame can never be taken for another.
        packet.pts = packet.dts = row
        packet.is_keyframe = position in keyframes
        try:
            yield from context.decode(packet)
        except FFmpegError:
            # A damaged packet: its frame stays absent, which the caller counts as lost.
            continue
    if clip.last:
        yield from _drain(context, clip.codec.reorder_depth)


def _drain(context: VideoCodecContext, reorder_depth: int) -> Iterator[VideoFrame]:
    # Damaged leftovers: their frames stay absent, which the caller counts as lost.
    with contextlib.suppress(FFmpegError):
        yield from context.decode(None)
    context.flush_buffers()
    context.reorder_depth = reorder_depth


def _in_order(
    found: list[tuple[float, int]], pixels: np.ndarray | None, clip: Clip
) -> tuple[FrameBatch, tuple[int, ...]]:
    """The pictures in the order of their times, and their rows."""
    if pixels is None:
        width, height = clip.size or clip.codec.geometry.shown_size
        return FrameBatch(np.empty((0, height, width, 3), np.uint8), np.empty(0)), ()
    pixels = pixels[: len(found)]
    order = sorted(range(len(found)), key=found.__getitem__)
    if order != list(range(len(found))):
        # Only where leading pictures come out behind what they lead to.
        pixels[:] = pixels[order]
    return FrameBatch(pixels, np.array([found[at][0] for at in order])), tuple(found[at][1] for at in order)


def _strip(glimpsed: list[tuple[float, np.ndarray]]) -> Strip:
    glimpsed.sort(key=lambda item: item[0])
    if not glimpsed:
        width, height = THUMB_SIZE
        return Strip(np.empty(0), np.empty((0, height, width, 3), np.uint8))
    return Strip(np.array([at for at, _ in glimpsed]), np.stack([picture for _, picture in glimpsed]))
