"""What must be refused, and with which code."""

from pathlib import Path

import av
import numpy as np

from tests.formats.chart import moments
from tests.formats.containers import H264, H265
from tests.formats.matrix import Entry
from tests.formats.unwelcome import CUT_OFF, ENCRYPTED
from tests.formats.writing import COUNT, Codec, encode


def _encoded(codec: Codec, count: int = COUNT):
    def make(path: Path) -> None:
        encode(path, codec, moments(count))

    return make


def _bytes(data: bytes):
    def make(path: Path) -> None:
        path.write_bytes(data)

    return make


def _sound(codec: str, cover: bool):
    def make(path: Path) -> None:
        with av.open(str(path), "w") as output:
            stream = output.add_stream(codec, rate=48_000, layout="mono")
            picture = None
            if cover:
                picture = output.add_stream("mjpeg", rate=1)
                picture.width, picture.height, picture.pix_fmt = 64, 64, "yuvj420p"
                picture.disposition = av.stream.Disposition.attached_pic
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 48_000), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 48_000
            if picture is not None:
                image = av.VideoFrame(64, 64, "yuvj420p")
                for packet in (*picture.encode(image), *picture.encode(None)):
                    output.mux(packet)
            for packet in (*stream.encode(frame), *stream.encode(None)):
                output.mux(packet)

    return make


def _refused(name: str, suffix: str, codec: str, oddity: str, make, code: str) -> Entry:
    return Entry(name, suffix, codec, "", oddity, make, refusals={"*": code})


NO_CONTAINER = "unsupported_container"

ENTRIES = [
    _refused("raw-h264", "h264", "libx264", "raw stream, no container", _encoded(H264), NO_CONTAINER),
    _refused("raw-hevc", "hevc", "libx265", "raw stream, no container", _encoded(H265), NO_CONTAINER),
    _refused("raw-mpeg2", "m2v", "mpeg2video", "raw stream, no container",
             _encoded(Codec("mpeg2video", bit_rate=4_000_000)), NO_CONTAINER),
    _refused("palette-apart", "avi", "rawvideo", "palette beside the pictures", _encoded(Codec("rawvideo", "pal8")),
             "unsupported_codec"),
    _refused("palette-apart-smc", "mov", "smc", "palette beside the pictures", _encoded(Codec("smc", "pal8")),
             "unsupported_codec"),
    _refused("apng", "apng", "apng", "a picture format, moving", _encoded(Codec("apng", "rgb24")), NO_CONTAINER),
    _refused("png-file", "png", "png", "a picture", _encoded(Codec("png", "rgb24"), 1), NO_CONTAINER),
    _refused("png-single", "mov", "png", "one still in a video container", _encoded(Codec("png", "rgb24"), 1),
             "no_video_stream"),
    _refused("gif-single", "gif", "gif", "one still", _encoded(Codec("gif", "rgb8"), 1), "no_video_stream"),
    _refused("sound", "mp4", "aac", "sound only", _sound("aac", cover=False), "no_video_stream"),
    _refused("sound-cover", "mp3", "libmp3lame", "sound with a cover picture", _sound("libmp3lame", cover=True),
             "no_video_stream"),
    _refused("playlist", "m3u8", "", "a playlist", _bytes(b"#EXTM3U\n#EXTINF:5,\nfile:///etc/passwd\n"), NO_CONTAINER),
    _refused("concat", "ffconcat", "", "a list of files", _bytes(b"ffconcat version 1.0\nfile x.mp4\n"), NO_CONTAINER),
    _refused("empty", "mp4", "", "no bytes", _bytes(b""), NO_CONTAINER),
    *(_refused(name, suffix, "", "encrypted", make, "encrypted") for name, (suffix, make) in ENCRYPTED.items()),
    *(_refused(f"cut-{name}", suffix, "", "cut off", make, "truncated")
      for name, (suffix, _, make) in CUT_OFF.items()),
]  # fmt: skip
