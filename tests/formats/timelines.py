"""Times: uneven, shifted, cut by edit lists, without an index, in pieces; and files with several picture streams."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.formats.chart import chart, moments
from tests.formats.containers import H264, H265, VP9
from tests.formats.matrix import Entry
from tests.formats.writing import COUNT, FPS, Codec, Known, encode, even, picture, remux

_NO_B = replace(H264, b_frames=0)


def _uneven(clock_hz: int) -> list[float]:
    """Every third frame stays twice as long, and one a whole second; on the container's clock."""
    steps = [(2 if number % 3 == 0 else 1) / FPS + (1.0 if number == 9 else 0.0) for number in range(COUNT)]
    times = np.concatenate([[0.0], np.cumsum(steps)[:-1]])
    return (np.round(times * clock_hz) / clock_hz).tolist()


def _timed(
    name: str, suffix: str, codec: Codec, oddity: str, times_s: list[float], muxer: dict[str, str] | None = None
) -> Entry:
    def make(path: Path) -> Known:
        frames = moments(COUNT)
        clock = Fraction(1, FPS) if suffix == "avi" else None
        encode(path, codec, frames, times_s=times_s, muxer=muxer, clock=clock)
        return Known(frames, [time_s - times_s[0] for time_s in times_s])

    return Entry(name, suffix, codec.name, codec.pixels, oddity, make)


def _remuxed(
    name: str, suffix: str, codec: Codec, oddity: str, change: Callable[[list], list], shown: slice, **muxer: str
) -> Entry:
    """The packets of a plain file after `change`; the charts in `shown` are what is left to see."""

    def make(path: Path) -> Known:
        frames = moments(COUNT)
        source = encode(path.with_name(f"plain.{suffix}"), codec, frames)
        remux(source, path, change, muxer=muxer)
        left = frames[shown]
        return Known(left, even(len(left)))

    return Entry(name, suffix, codec.name, codec.pixels, oddity, make)


def _shifted(frames: int) -> Callable[[list], list]:
    def change(packets: list) -> list:
        for packet in packets:
            shift = round(Fraction(frames, FPS) / packet.time_base)
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
        return packets

    return change


def _two(sizes: tuple[tuple[int, int], tuple[int, int]], default: int | None, best: int) -> Callable[[Path], Known]:
    """Two video streams; the other one shows the chart upside down."""

    def make(path: Path) -> Known:
        frames = [moments(COUNT, width=width, height=height) for width, height in sizes]
        frames[1 - best] = [frame[::-1] for frame in frames[1 - best]]
        with av.open(str(path), "w") as output:
            streams = []
            for number, (width, height) in enumerate(sizes):
                stream = output.add_stream("libx264", rate=FPS, options=H264.options)
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                stream.codec_context.thread_count = 1
                disposition = av.stream.Disposition.default if number == default else av.stream.Disposition(0)
                stream.disposition = disposition
                streams.append(stream)
            for at in range(COUNT):
                for stream, pictures in zip(streams, frames, strict=True):
                    frame = picture(pictures[at], "yuv420p", H264.tags)
                    frame.pts, frame.time_base = at, Fraction(1, FPS)
                    for packet in stream.encode(frame):
                        output.mux(packet)
            for stream in streams:
                for packet in stream.encode(None):
                    output.mux(packet)
        return Known(frames[best], even())

    return make


def _covered(path: Path) -> Known:
    """An MP4 with a cover picture, larger than the video."""
    frames = moments(COUNT)
    plain = encode(path.with_name("plain.mp4"), H264, frames)
    with av.open(str(plain)) as reader, av.open(str(path), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        cover = writer.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 640, 480, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(np.full((480, 640, 3), 200, np.uint8), format="rgb24")
        for packet in (*cover.encode(frame.reformat(format="yuvj420p")), *cover.encode(None)):
            writer.mux(packet)
        for packet in reader.demux(video=0):
            if packet.size:
                packet.stream = stream
                writer.mux(packet)
    return Known(frames, even())


def _unfinished(path: Path) -> Known:
    """What is on disk when the program that writes a Matroska file is killed: no cues, sizes unknown."""
    frames = moments(COUNT)
    whole = path.with_name("whole.mkv")
    with whole.open("wb") as file:
        # Without seeking back, the muxer leaves every size and the index open, as a killed one does.
        sink = _Forward(file)
        encode_into = av.open(sink, "w", format="matroska", container_options={"cluster_time_limit": "200"})
        with encode_into as output:
            stream = output.add_stream("libx264", rate=FPS, options=_NO_B.options)
            stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
            stream.codec_context.thread_count, stream.codec_context.max_b_frames = 1, 0
            for number, rgb in enumerate(frames):
                frame = picture(rgb, "yuv420p", H264.tags)
                frame.pts, frame.time_base = number, Fraction(1, FPS)
                for packet in stream.encode(frame):
                    output.mux(packet)
            for packet in stream.encode(None):
                output.mux(packet)
    path.write_bytes(whole.read_bytes())
    return Known(frames, even())


class _Forward:
    """A file that cannot go back."""

    def __init__(self, file) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        return self._file.write(data)


def _single(path: Path) -> Known:
    frames = [chart(5)]
    encode(path, _NO_B, frames)
    return Known(frames, [0.0])


_OPEN = replace(H265, b_frames=3, options={**H265.options, "x265-params": H265.options["x265-params"] + ":open-gop=1"})
_MPEG4 = Codec("mpeg4", bit_rate=4_000_000)

ENTRIES = [
    _timed("vfr-mp4", "mp4", H264, "variable rate, a gap of a second", _uneven(90_000)),
    _timed("vfr-mkv", "mkv", H264, "variable rate, a gap of a second", _uneven(1000)),
    _timed("vfr-webm", "webm", VP9, "variable rate, a gap of a second", _uneven(1000)),
    _timed("vfr-ts", "ts", _NO_B, "variable rate, a gap of a second", _uneven(90_000)),
    _timed("vfr-fragments", "mp4", H264, "variable rate, in fragments", _uneven(90_000),
           {"movflags": "frag_keyframe+empty_moov"}),
    _timed("late-mkv", "mkv", _NO_B, "first frame at 100 s", [100 + time_s for time_s in even()]),
    _timed("late-ts", "ts", H264, "first frame at 3000 s", [3000 + time_s for time_s in even()]),
    _remuxed("edit-list", "mp4", H264, "edit list starts 5 frames into a group", _shifted(-5), slice(5, None),
             avoid_negative_ts="disabled"),
    _remuxed("empty-edit", "mp4", H264, "edit list starts with half a second of nothing", _shifted(12), slice(None)),
    _remuxed("negative-mkv", "mkv", _NO_B, "asked to start 5 frames below zero", _shifted(-5), slice(None)),
    _remuxed("mid-group-ts", "ts", _NO_B, "starts in the middle of a group", lambda packets: packets[3:],
             slice(8, None)),
    _remuxed("gap-mkv", "mkv", replace(_NO_B, gop=4), "last frames of a group missing at the end",
             lambda packets: packets[:14], slice(0, 14)),
    _timed("faststart", "mp4", H264, "index before the data", even(), {"movflags": "faststart"}),
    _timed("fragmented", "mp4", H264, "in fragments, no index", even(), {"movflags": "frag_keyframe+empty_moov"}),
    _timed("fragmented-each", "mp4", _NO_B, "a fragment a frame", even(), {"movflags": "frag_every_frame+empty_moov"}),
    _timed("no-cues", "webm", VP9, "live: no index, no length", even(), {"live": "1"}),
    _timed("open-gop", "mp4", _OPEN, "open groups, B-frames", even()),
    _timed("avi-held", "avi", _MPEG4, "a frame held for a second",
           [n / FPS + (1.0 if n > 9 else 0) for n in range(COUNT)]),
    Entry("unfinished-mkv", "mkv", "libx264", "yuv420p", "killed while writing: no index, sizes open", _unfinished),
    Entry("two-default", "mkv", "libx264", "yuv420p", "two video streams, the smaller is the default",
          _two(((320, 192), (160, 96)), 1, 1)),
    Entry("two-largest", "ts", "libx264", "yuv420p", "two video streams, none the default: the larger",
          _two(((160, 96), (320, 192)), None, 1)),
    Entry("cover", "mp4", "libx264", "yuv420p", "a cover picture beside the video", _covered),
    Entry("single", "mp4", "libx264", "yuv420p", "one frame", _single),
]  # fmt: skip
