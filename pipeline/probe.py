"""What a file is, from its bytes: container, codec, shape, rates, orientation, colour, sound."""

import re
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from pipeline.container import is_matroska, main_sound
from pipeline.opened import OpenFile
from pipeline.packets import PacketIndex
from pipeline.report import AudioInfo, LostRange, VideoInfo

#: Frame distances that differ by more than this share of their median make a rate variable. Containers with a coarse
#: clock (Matroska: 1 ms) make 33 and 34 ms of a constant 30 frames/s, which is 3 %.
_RATE_TOLERANCE = 0.1

#: Transfer curves of high dynamic range, and the ranges that samples use, by FFmpeg's numbers.
_HDR: dict[int, Literal["hdr10", "hlg"]] = {int(ColorTrc.SMPTE2084): "hdr10", int(ColorTrc.ARIB_STD_B67): "hlg"}
_RANGES: dict[int, str] = {int(ColorRange.MPEG): "limited", int(ColorRange.JPEG): "full"}


def describe(
    file: OpenFile, container: InputContainer, stream: VideoStream, index: PacketIndex, first: VideoFrame
) -> VideoInfo:
    """Describe a video whose packets were read; its first picture alone carries some colour tags."""
    context = stream.codec_context
    geometry = index.codec.geometry
    width, height = geometry.shown_size
    times_s = index.times_s[index.display_order]
    duration_s = index.duration_s
    return VideoInfo(
        path=file.name,
        size_bytes=file.size_bytes,
        container=container.format.name,
        codec=context.codec.canonical_name,
        profile=context.profile,
        pixel_format=first.format.name,
        bit_depth=max((c.bits for c in first.format.components), default=None),
        duration_s=duration_s,
        start_s=float(index.origin * index.time_base),
        width=width,
        height=height,
        coded_width=geometry.width,
        coded_height=geometry.height,
        rotation_deg=geometry.rotation_deg,
        mirrored=geometry.mirrored,
        pixel_aspect=geometry.pixel_aspect[0] / geometry.pixel_aspect[1],
        average_fps=len(times_s) / duration_s if duration_s else 0.0,
        nominal_fps=float(stream.guessed_rate) if stream.average_rate and stream.guessed_rate else None,
        variable_rate=_is_variable(times_s),
        frames=len(times_s),
        keyframes=int((index.keyframe & index.shown).sum()),
        bit_rate_bps=round(int(index.size.sum(dtype=np.int64)) * 8 / duration_s) if duration_s else None,
        hdr=_HDR.get(first.color_trc),
        color_primaries=_tag(ColorPrimaries, first.color_primaries),
        color_transfer=_tag(ColorTrc, first.color_trc),
        color_space=_tag(Colorspace, first.colorspace),
        color_range=_RANGES.get(first.color_range),
        audio=_audio(container),
    )


def missing_tail(container: InputContainer, stream: VideoStream, index: PacketIndex) -> LostRange | None:
    """What the container promises beyond the last readable packet: a file that was cut off, or None."""
    promised_frames = stream.frames
    promised_end, slack_s = _promised_end(container, stream, float(index.origin * index.time_base))
    if promised_frames and stream.average_rate:
        # AVI's index says where a cut-off file ends; its header still counts the frames, repeated ones included.
        promised_end = max(promised_end, promised_frames / float(stream.average_rate))
    missing_s = promised_end - index.duration_s
    missing_frames = max(0, promised_frames - len(index))
    frame_s = index.duration_s / max(1, int(index.shown.sum()))
    if missing_s < 3 * frame_s or (missing_frames == 0 and (promised_frames > 0 or missing_s < slack_s)):
        return None
    return LostRange(
        start_s=index.duration_s,
        end_s=max(promised_end, index.duration_s),
        frames=missing_frames or round(missing_s / frame_s),
        reason="the file ends before what its header promises: it was cut off",
    )


def _promised_end(container: InputContainer, stream: VideoStream, origin_s: float) -> tuple[float, float]:
    """Where the picture ought to end on the video's time line, and how much the header may exaggerate; seconds."""
    tagged = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if tagged:
        # Matroska's statistics tags: the end of this very stream.
        hours, minutes, seconds = tagged.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds) - origin_s, 0.2
    if stream.duration is not None and stream.time_base is not None and not is_matroska(container):
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base) - origin_s, 0.5
    if container.duration is not None:
        start = 0 if is_matroska(container) else container.start_time or 0
        end_s = (start + container.duration) / av.time_base - origin_s
        # The whole container's, and sound may outlast the picture.
        return end_s, max(1.0, 0.02 * end_s)
    return 0.0, 0.0


def _is_variable(times_s: np.ndarray) -> bool:
    gaps = np.diff(times_s)
    if len(gaps) < 2:
        return False
    usual = np.median(gaps)
    # The last gap is often odd; a single hole is damage rather than a rate.
    odd = np.abs(gaps - usual) > np.maximum(_RATE_TOLERANCE * usual, 1.1e-3)
    return bool(odd.mean() > 0.01)


def _tag(names: type, value: int) -> str | None:
    """Lower-case name of a colour tag; None where it is unspecified or reserved."""
    try:
        name = names(value).name.lower()
    except ValueError:
        return None
    return None if name in ("unspecified", "default") else name


def _audio(container: InputContainer) -> AudioInfo | None:
    stream = main_sound(container)
    if stream is None or stream.codec_context is None:
        return None
    duration = stream.duration * stream.time_base if stream.duration is not None and stream.time_base else None
    if duration is None:
        duration = Fraction(container.duration or 0, av.time_base)
    return AudioInfo(
        codec=stream.codec_context.codec.canonical_name,
        sample_rate_hz=stream.codec_context.sample_rate,
        channels=stream.codec_context.channels,
        duration_s=float(duration),
    )
