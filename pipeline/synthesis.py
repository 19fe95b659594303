"""Writes videos whose truth is known: frames and times in, a file in a chosen codec and container out.

Used by the demo, the tests and the benchmarks. Everything is single-threaded and seeded by its caller, so that the
same frames give the same bytes with the same FFmpeg.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a video is to be written."""

    codec: str = "libx264"
    """An FFmpeg encoder that PyAV's wheel carries: libx264, libx265, libvpx, libvpx-vp9, libsvtav1, mpeg4, ..."""
    gop: int = 60
    """Longest distance between keyframes, in frames."""
    b_frames: int | None = None
    """Consecutive B-frames; None leaves the encoder's default."""
    pixel_format: str = "yuv420p"
    container: str | None = None
    """FFmpeg muxer; None goes by the file's suffix."""
    options: dict[str, str] = field(default_factory=dict)
    """Encoder options, for example `{"preset": "veryfast", "x264-params": "open-gop=1"}`."""
    container_options: dict[str, str] = field(default_factory=dict)
    """Muxer options, for example `{"movflags": "faststart"}`."""
    bit_rate_bps: int | None = None
    clock: Fraction | None = None
    """Unit of time stamps, seconds; None: 1/90000 for a variable rate, the length of a frame for a constant one."""


#: Quick, small and good enough to look at.
H264 = Encoding(options={"preset": "veryfast", "crf": "23"})

AUDIO_RATE_HZ = 48_000


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    fps: Fraction | int,
    encoding: Encoding = H264,
    times_s: Iterable[float] | None = None,
    audio: np.ndarray | None = None,
) -> Path:
    """Encode frames into `path` and return it.

    Args:
        frames: uint8 [H, W, 3] RGB each, all of one size.
        fps: the constant rate, or the nominal one where `times_s` is given.
        times_s: presentation time of each frame in seconds, ascending, for a variable rate; rounded to the clock.
        audio: float32 [S] mono in [-1, 1] at 48 kHz, written as AAC (Opus in WebM); None for a silent file.
    """
    clock = encoding.clock or (Fraction(1, 90_000) if times_s is not None else 1 / Fraction(fps))
    times = iter(times_s) if times_s is not None else None
    with (
        own_priority(),
        av.open(str(path), "w", format=encoding.container, container_options=encoding.container_options) as container,
    ):
        stream = None
        sound = None
        for number, pixels in enumerate(frames):
            if stream is None:
                stream = _add_stream(container, pixels.shape, fps, clock, encoding)
                if audio is not None:
                    codec = "libopus" if container.format.name == "webm" else "aac"
                    sound = cast(AudioStream, container.add_stream(codec, rate=AUDIO_RATE_HZ, layout="mono"))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            matrix = "itu709" if pixels.shape[0] >= 720 else "itu601"
            frame = frame.reformat(format=encoding.pixel_format, dst_colorspace=matrix)
            frame.pts = round(Fraction(next(times)) / clock) if times is not None else number
            frame.time_base = clock
            for packet in stream.encode(frame):
                container.mux(packet)
        if stream is None:
            raise ValueError("a video needs at least one frame")
        for packet in stream.encode(None):
            container.mux(packet)
        if sound is not None and audio is not None:
            _write_audio(container, sound, audio)
    return path


@contextlib.contextmanager
def own_priority() -> Iterator[None]:
    """SVT-AV1 makes threads of those who may be, the caller's among them, real-time ones that nobody interrupts, and
    leaves them so: whatever a root process starts afterwards would keep everything else off the processor."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, param)


def _add_stream(
    container: OutputContainer, shape: tuple[int, ...], fps: Fraction | int, clock: Fraction, encoding: Encoding
) -> VideoStream:
    stream = cast(VideoStream, container.add_stream(encoding.codec, rate=fps, options=encoding.options))
    stream.height, stream.width = shape[0], shape[1]
    stream.pix_fmt = encoding.pixel_format
    context = stream.codec_context
    context.time_base = clock
    context.thread_count = 1
    context.gop_size = encoding.gop
    if encoding.b_frames is not None:
        context.max_b_frames = encoding.b_frames
    if encoding.bit_rate_bps is not None:
        stream.bit_rate = encoding.bit_rate_bps
    return stream


def _write_audio(container: OutputContainer, stream: AudioStream, audio: np.ndarray) -> None:
    frame = av.AudioFrame.from_ndarray(audio.astype(np.float32)[None, :], format="fltp", layout="mono")
    frame.sample_rate = AUDIO_RATE_HZ
    frame.time_base = Fraction(1, AUDIO_RATE_HZ)
    frame.pts = 0
    for packet in (*stream.encode(frame), *stream.encode(None)):
        container.mux(packet)
