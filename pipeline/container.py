"""Opens a media file and picks its moving picture. The only place that knows FFmpeg's demuxers."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import av
from av.container import InputContainer
from av.error import ArgumentError, FFmpegError, InvalidDataError
from av.stream import Disposition
from av.video.stream import VideoStream

from pipeline.errors import CorruptVideo, InputNotFound, LimitExceeded, NotAVideo, NoVideoStream, UnsupportedCodec
from pipeline.limits import INPUT_LIMITS, InputLimits

#: Demuxers that read one self-contained file. Playlists and scripts (hls, dash, concat, sdp, image sequences) would
#: read other files or URLs that the input names, so they are never probed.
DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2",
    "matroska,webm",
    "mpegts",
    "mpeg",
    "avi",
    "flv",
    "asf",
    "ogg",
    "mxf",
    "gif",
    "ivf",
    "nut",
    "rm",
    "wav",
    "mp3",
    "flac",
    "aac",
)

#: Codecs of pictures that a stream may also hold many of: with a single one it is a still, with more a video.
STILL_CODECS = frozenset({"png", "apng", "bmp", "tiff", "webp", "jpeg2000", "jpegls", "gif"})


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file that somebody opened for reading. Position and closing are the business of whoever opened it."""

    descriptor: int
    name: str
    """For people: in messages and in the report."""

    @property
    def size_bytes(self) -> int:
        """Its size now."""
        return os.fstat(self.descriptor).st_size


Video = str | os.PathLike[str] | OpenFile
"""A path, or a file that is open already: all that a process without access to files can be given."""


@contextmanager
def open_file(video: Video) -> Iterator[OpenFile]:
    """Open `video` for reading, if it is a path.

    Raises:
        InputNotFound: there is no such readable file.
        NotAVideo: it is empty.
    """
    if isinstance(video, OpenFile):
        yield video
        return
    name = os.fsencode(video).decode("utf-8", "replace")
    try:
        if not os.path.exists(video):
            raise InputNotFound(f"{name}: no such file")
        # Opening a pipe or a device would wait, or do something.
        if not stat.S_ISREG(os.stat(video).st_mode):
            raise InputNotFound(f"{name}: not a regular file")
        descriptor = os.open(video, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise InputNotFound(f"{name}: cannot be read ({getattr(error, 'strerror', error)})") from error
    try:
        file = OpenFile(descriptor, name)
        if file.size_bytes == 0:
            raise NotAVideo(f"{name}: the file is empty")
        yield file
    finally:
        os.close(descriptor)


@contextmanager
def open_video(video: Video, limits: InputLimits = INPUT_LIMITS) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open `video` and yield its container and main video stream.

    Raises:
        InputNotFound: there is no such readable file.
        NotAVideo: the bytes are no container that is read here.
        NoVideoStream: there is nothing moving in it.
        UnsupportedCodec: nothing here decodes it.
        CorruptVideo: the container was recognised but is broken.
        LimitExceeded: it has more streams, or larger pictures, than `limits` allow.
    """
    with open_file(video) as file:
        os.lseek(file.descriptor, 0, os.SEEK_SET)
        options = {
            "fd": str(file.descriptor),
            # The file that is open already is all that FFmpeg may read, whatever the bytes in it ask for.
            "protocol_whitelist": "fd",
            "format_whitelist": ",".join(DEMUXERS),
            "max_streams": str(limits.max_streams),
        }
        try:
            container = av.open("fd:", options=options, metadata_errors="replace")
        except (InvalidDataError, ArgumentError) as error:
            raise NotAVideo(f"{file.name}: {_refusal(file)}") from error
        except MemoryError as error:
            # What FFmpeg says of too many streams, too.
            what = f"more than {limits.max_streams} streams, or needs more memory than it may take"
            raise LimitExceeded(f"{file.name}: it has {what}") from error
        except FFmpegError as error:
            raise CorruptVideo(f"{file.name}: cannot be opened ({error.strerror})") from error
        with container:
            stream = _main_stream(container, file)
            area = stream.codec_context.width * stream.codec_context.height
            if area > limits.max_pixels:
                raise LimitExceeded(f"{file.name}: pictures of {area} pixels; at most {limits.max_pixels} are read")
            # A process that is locked in can make no threads, and one picture needs none.
            stream.codec_context.thread_count = 1
            yield container, stream


def _refusal(file: OpenFile) -> str:
    """Why FFmpeg knew nothing of the bytes, as far as the first of them tell."""
    head = os.pread(file.descriptor, 64, 0)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide"):
        return "an MP4 without a readable index (moov); it is probably cut off"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "a Matroska/WebM file whose header is damaged or cut off"
    if head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\x00", b"MM\x00*", b"RIFF")) and b"AVI " not in head:
        return "a picture or sound file, not a video"
    if head.startswith((b"\x00\x00\x01", b"\x00\x00\x00\x01")):
        return "a raw stream (H.264, HEVC, MPEG) without a container, and so without times; put it into MP4 or Matroska"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 or byte >= 128 for byte in head):
        return "text, not a video"
    return "no video format that is read here"


def _main_stream(container: InputContainer, file: OpenFile) -> VideoStream:
    cover = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [s for s in container.streams.video if not s.disposition & cover]
    if not streams:
        what = (
            "only a cover picture"
            if container.streams.video
            else "sound only"
            if container.streams.audio
            else "no streams"
        )
        raise NoVideoStream(f"{file.name}: no video stream ({what})")
    default = Disposition.default

    def rank(stream: VideoStream) -> tuple[bool, int, int]:
        context = stream.codec_context
        area = context.width * context.height if context is not None else 0
        return bool(stream.disposition & default), area, -stream.index

    best = max(streams, key=rank)
    if best.codec_context is None:
        raise UnsupportedCodec(f"{file.name}: the video's codec is not known here")
    return best
