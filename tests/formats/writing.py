"""Writes charts into files: pixels in numbers, tags and time stamps as told, containers with their oddities."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from pipeline.synthesis import own_priority
from tests.formats.chart import to_yuv

FPS = 25
COUNT = 16


@dataclass(frozen=True)
class Known:
    """What must come out of a file: pictures and their times from the first one, seconds, in order."""

    frames: list[np.ndarray]
    times_s: list[float]


@dataclass(frozen=True)
class Tags:
    """Colour as FFmpeg numbers it; None: not written."""

    matrix: int | None = None
    full: bool | None = None
    primaries: int | None = None
    transfer: int | None = None


@dataclass(frozen=True)
class Codec:
    """An encoder and how it is told to work."""

    name: str
    pixels: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    gop: int = 8
    b_frames: int = 0
    bit_rate: int | None = None
    tags: Tags = Tags()
    aspect: Fraction | None = None
    interlaced: str | None = None
    """`tff` or `bff`: the frames are marked as woven from two fields, top or bottom first."""


#: Pixel format -> (bits, horizontal and vertical chroma step); the planes are filled here, in numbers.
_YUV = {
    "yuv420p": (8, 2, 2), "yuvj420p": (8, 2, 2), "yuv422p": (8, 2, 1), "yuvj422p": (8, 2, 1), "yuv444p": (8, 1, 1),
    "yuv420p10le": (10, 2, 2), "yuv422p10le": (10, 2, 1), "yuv444p10le": (10, 1, 1), "yuv420p12le": (12, 2, 2),
    "yuv422p12le": (12, 2, 1), "yuva420p": (8, 2, 2), "yuva444p10le": (10, 1, 1), "gray": (8, 0, 0),
    "gray10le": (10, 0, 0), "yuv411p": (8, 4, 1), "yuv410p": (8, 4, 4),
}  # fmt: skip


def picture(
    signal: np.ndarray, pixels: str, tags: Tags, alpha: np.ndarray | None = None, *, woven: bool = False
) -> av.VideoFrame:
    """A frame from R'G'B', uint8 or float in [0, 1], [H, W, 3].

    An untagged matrix is BT.601 below 720 lines and BT.709 from there on; `alpha` is float [H, W] in [0, 1]; chroma of
    `woven` fields is halved in each field by itself.
    """
    rgb = signal / 255 if signal.dtype == np.uint8 else signal
    height, width = rgb.shape[:2]
    if pixels == "pal8":
        return _indexed(rgb)
    if pixels not in _YUV:
        codes = np.round(rgb * 255).astype(np.uint8)
        if alpha is not None:
            codes = np.dstack([codes, np.round(alpha * 255).astype(np.uint8)])
        return av.VideoFrame.from_ndarray(codes, format="rgb24" if alpha is None else "rgba").reformat(format=pixels)
    bits, across, down = _YUV[pixels]
    matrix = tags.matrix if tags.matrix is not None else 1 if height >= 720 else 6
    full = bool(tags.full) or pixels.startswith("yuvj")
    yuv = to_yuv(rgb, matrix, full=full, bits=bits)
    frame = av.VideoFrame(width, height, pixels)
    planes = [yuv[..., 0]]
    if across:
        for channel in (1, 2):
            fields = [yuv[first::2, :, channel] for first in (0, 1)] if woven else [yuv[..., channel]]
            thin = [_thinned(field, across, down) for field in fields]
            planes.append(np.stack(thin, 1).reshape(-1, thin[0].shape[1]) if woven else thin[0])
    if pixels.startswith("yuva"):
        planes.append((np.ones((height, width)) if alpha is None else alpha) * (2**bits - 1))
    for plane, values in zip(frame.planes, planes, strict=True):
        store = np.frombuffer(plane, np.uint8 if bits == 8 else "<u2")
        lines = store.reshape(-1, plane.line_size // store.itemsize)
        lines[: values.shape[0], : values.shape[1]] = np.round(values)
    if tags.matrix is not None:
        frame.colorspace = tags.matrix
    if tags.full is not None:
        frame.color_range = 2 if tags.full else 1
    return frame


def _indexed(rgb: np.ndarray) -> av.VideoFrame:
    colours, numbers = np.unique(np.round(rgb * 255).astype(np.uint8).reshape(-1, 3), axis=0, return_inverse=True)
    palette = np.full((256, 4), 255, np.uint8)
    palette[: len(colours), 1:] = colours
    return av.VideoFrame.from_ndarray((numbers.reshape(rgb.shape[:2]).astype(np.uint8), palette), format="pal8")


def _thinned(plane: np.ndarray, across: int, down: int) -> np.ndarray:
    """Chroma as the mean of the pixels that share it; an odd edge is repeated."""
    height, width = plane.shape
    plane = np.pad(plane, ((0, -height % down), (0, -width % across)), mode="edge")
    return plane.reshape(plane.shape[0] // down, down, plane.shape[1] // across, across).mean((1, 3))


def encode(
    path: Path,
    codec: Codec,
    signals: Sequence[np.ndarray],
    *,
    times_s: Sequence[float] | None = None,
    alphas: Sequence[np.ndarray] | None = None,
    container: str | None = None,
    muxer: dict[str, str] | None = None,
    prepare: Callable | None = None,
    clock: Fraction | None = None,
    rate: int = FPS,
) -> Path:
    """One video stream of `signals` (see `picture`), at a constant rate or at `times_s`."""
    clock = clock or (Fraction(1, rate) if times_s is None else Fraction(1, 90_000))
    with own_priority(), av.open(str(path), "w", format=container, container_options=muxer or {}) as output:
        stream = output.add_stream(codec.name, rate=rate, options=codec.options)
        context = stream.codec_context
        stream.height, stream.width = signals[0].shape[:2]
        stream.pix_fmt = codec.pixels
        context.thread_count, context.time_base, context.gop_size = 1, clock, codec.gop
        context.max_b_frames = codec.b_frames
        if codec.bit_rate:
            stream.bit_rate = codec.bit_rate
        if codec.aspect:
            context.sample_aspect_ratio = codec.aspect
        tag_context(context, codec.tags)
        if prepare:
            prepare(stream)
        for number, signal in enumerate(signals):
            alpha = alphas[number] if alphas else None
            frame = picture(signal, codec.pixels, codec.tags, alpha, woven=codec.interlaced is not None)
            if codec.interlaced:
                frame = _marked(frame, codec.interlaced)
            frame.pts = number if times_s is None else round(times_s[number] / clock)
            frame.time_base = clock
            for packet in stream.encode(frame):
                output.mux(packet)
        for packet in stream.encode(None):
            output.mux(packet)
    return path


def tag_context(context, tags: Tags) -> None:
    """Hand the tags to an encoder."""
    if tags.matrix is not None:
        context.colorspace = tags.matrix
    if tags.full is not None:
        context.color_range = 2 if tags.full else 1
    if tags.primaries is not None:
        context.color_primaries = tags.primaries
    if tags.transfer is not None:
        context.color_trc = tags.transfer


def _marked(frame: av.VideoFrame, order: str) -> av.VideoFrame:
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, FPS))
    mark, sink = graph.add("setfield", f"mode={order}"), graph.add("buffersink")
    source.link_to(mark)
    mark.link_to(sink)
    graph.configure()
    frame.pts = 0
    graph.push(frame)
    return graph.pull()


def even(count: int = COUNT, rate: int = FPS) -> list[float]:
    """Times of a constant rate."""
    return [number / rate for number in range(count)]


def remux(source: Path, target: Path, change: Callable[[list], list] | None = None, **how) -> Path:
    """Copy the packets of `source`; `change` has its way with the list, `prepare` with the stream."""
    prepare, muxer = how.get("prepare"), how.get("muxer", {})
    with av.open(str(source)) as reader, av.open(str(target), "w", container_options=muxer) as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        if prepare:
            prepare(stream)
        packets = [packet for packet in reader.demux(video=0) if packet.size]
        for packet in change(packets) if change else packets:
            packet.stream = stream
            writer.mux(packet)
    return target
