"""Opens a media file and picks its moving picture. The only place that knows FFmpeg's demuxers."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import av
from av.container import InputContainer
from av.error import ArgumentError, EOFError, FFmpegError, InvalidDataError
from av.stream import Disposition
from av.video.stream import VideoStream

from pipeline import allocator
from pipeline.errors import (
    CorruptVideo,
    Encrypted,
    InputNotFound,
    LimitExceeded,
    NoVideoStream,
    Truncated,
    UnsupportedCodec,
    UnsupportedContainer,
    VideoError,
)
from pipeline.limits import INPUT_LIMITS, InputLimits
from pipeline.structure import Kind, kind_of

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

#: Those of the kinds of which that is said.
_HEADERS_SUFFICE = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})

#: Codecs of pictures that a stream may also hold many of: with a single one it is a still, with more a video.
STILL_CODECS = frozenset({"png", "apng", "bmp", "tiff", "webp", "jpeg2000", "jpegls", "gif"})


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a file from any other, and from what it was before somebody wrote to it."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int
    """Of its content or of what the file system knows about it; nobody can set this one back."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file that somebody opened for reading, as it was then. Position and closing are the business of whoever
    opened it."""

    descriptor: int
    name: str
    """For people: in messages and in the report."""
    size_bytes: int
    identity: Identity | None = None
    """None in a process that is locked in: whoever handed it the file keeps watch."""


Video = str | os.PathLike[str] | OpenFile
"""A path, or a file that is open already: all that a process without access to files can be given."""


#: Options that have FFmpeg find no decoder while it opens a file, and read no further than the headers for want of one.
_HEADERS_ONLY = {"codec_whitelist": "none", "probesize": "32", "analyzeduration": "1"}


@contextmanager
def open_file(video: Video) -> Iterator[OpenFile]:
    """Open `video` for reading, if it is a path.

    Raises:
        InputNotFound: there is no such readable file.
        UnsupportedContainer: it is empty.
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
        # By now another may lie there: a pipe is not waited for, and refused below.
        descriptor = os.open(video, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise InputNotFound(f"{name}: cannot be read ({getattr(error, 'strerror', error)})") from error
    try:
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode):
            raise InputNotFound(f"{name}: not a regular file")
        if seen.st_size == 0:
            raise UnsupportedContainer(f"{name}: the file is empty")
        os.set_blocking(descriptor, True)
        identity = Identity(seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
        yield OpenFile(descriptor, name, seen.st_size, identity)
    finally:
        os.close(descriptor)


#: From so many packets on, the tables that FFmpeg makes its index of (MP4) are worth giving back once it is made: about
#: 10 MiB an hour of video with sound.
_MANY_PACKETS = 20_000


@contextmanager
def open_video(video: Video, limits: InputLimits = INPUT_LIMITS) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open `video` and yield its container and main video stream.

    Where the container's headers suffice, FFmpeg is kept from decoding pictures to find out more: for H.264 and VP9
    that is nearly all that opening costs (16 ms of 16.3 at 720p). What only a decoder knows, pixel format, profile,
    colours of the bitstream, is known once a picture was decoded.

    Raises:
        InputNotFound: there is no such readable file.
        UnsupportedContainer: the bytes are no container that is read here.
        NoVideoStream: there is nothing moving in it.
        UnsupportedCodec: nothing here decodes it.
        Encrypted: its pictures are encrypted.
        Truncated: it ends in its header, or before the index that it needs.
        CorruptVideo: the container was recognised but is broken.
        LimitExceeded: it has more streams, or larger pictures, than `limits` allow.
    """
    with open_file(video) as file:
        kind = kind_of(file)
        with _demuxer(file, kind, limits) as container:
            if len(container.streams) > limits.max_streams:
                raise LimitExceeded(f"{file.name}: more than {limits.max_streams} streams are not read (max_streams)")
            stream = _readable_stream(container, file, kind)
            area = stream.codec_context.width * stream.codec_context.height
            if area > limits.max_pixels:
                raise LimitExceeded(f"{file.name}: {too_large(area, limits)}")
            # A process that is locked in can make no threads, and one picture needs none.
            stream.codec_context.thread_count = 1
            if sum(each.frames for each in container.streams) > _MANY_PACKETS:
                allocator.release_freed()
            yield container, stream


def _demuxer(file: OpenFile, kind: Kind | None, limits: InputLimits) -> InputContainer:
    """FFmpeg's reader of the file, at its beginning."""
    os.lseek(file.descriptor, 0, os.SEEK_SET)
    options = {
        "fd": str(file.descriptor),
        # The file that is open already is all that FFmpeg may read, whatever the bytes in it ask for.
        "protocol_whitelist": "fd",
        "format_whitelist": ",".join(DEMUXERS),
        # Some demuxers leave out in silence what is beyond the bound, so one more is let in to be seen.
        "max_streams": str(limits.max_streams + 1),
    }
    if kind is not None and kind.headers_suffice:
        options |= _HEADERS_ONLY
    try:
        container = av.open("fd:", options=options, metadata_errors="replace")
    except MemoryError as error:
        # What FFmpeg says of too many streams, too.
        streams = f"it has more than {limits.max_streams} streams (max_streams)"
        raise LimitExceeded(f"{file.name}: {streams}, or needs more memory than worker.memory_bytes") from error
    except FFmpegError as error:
        raise _unreadable(file, kind, error) from error
    if kind is not None and kind.headers_suffice and container.format.name not in _HEADERS_SUFFICE:
        # It begins like one kind and is another.
        container.close()
        return _demuxer(file, None, limits)
    return container


def is_matroska(container: InputContainer) -> bool:
    """Whether it is one whose tracks need not say how long they are, nor how long a picture is shown: FFmpeg then puts
    in the length of the whole file, and 1 ms."""
    return container.format.name == "matroska,webm"


def too_large(area: int, limits: InputLimits) -> str:
    """What is wrong with pictures of `area` pixels."""
    return f"pictures of {area} pixels; at most {limits.max_pixels} are read (max_pixels)"


@contextmanager
def telling_cut_off(file: OpenFile) -> Iterator[None]:
    """What cannot be read within the block because the file was cut off is refused for that reason.

    Raises:
        Truncated: in place of CorruptVideo, if the file's own structure shows that a part of it is missing.
    """
    try:
        yield
    except CorruptVideo as error:
        kind = kind_of(file)
        if kind is None or (refusal := _cut_off(file, kind)) is None:
            raise
        raise refusal from error


def _unreadable(file: OpenFile, kind: Kind | None, error: FFmpegError) -> VideoError:
    """Why FFmpeg could not open the file, as far as the file itself tells."""
    if kind is not None:
        if refusal := _cut_off(file, kind):
            return refusal
        if isinstance(error, EOFError):
            return Truncated(f"{file.name}: {kind.name} that ends in its header; copy or upload it again")
        return CorruptVideo(f"{file.name}: {kind.name} whose header is damaged; copy or upload it again")
    if isinstance(error, InvalidDataError | ArgumentError):
        return UnsupportedContainer(f"{file.name}: {_looks_like(file)}")
    if isinstance(error, EOFError):
        return Truncated(f"{file.name}: it ends in its header; copy or upload it again")
    return CorruptVideo(f"{file.name}: its header is damaged ({error.strerror}); copy or upload it again")


def _cut_off(file: OpenFile, kind: Kind, *, header: bool = False) -> Truncated | None:
    """The refusal of a file that shows that it was cut off, with `header`: in its header; None of any other."""
    found = kind.ending(file)
    if found is None or (header and not found.in_header):
        return None
    return Truncated(f"{file.name}: {kind.name} that was cut off: {found.what}; copy or upload it again")


def _looks_like(file: OpenFile) -> str:
    """What the bytes are, of which FFmpeg knew nothing, as far as the first of them tell."""
    head = os.pread(file.descriptor, 64, 0)
    if head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\x00", b"MM\x00*", b"RIFF")):
        return "a picture or sound file, not a video"
    if head.startswith((b"\x00\x00\x01", b"\x00\x00\x00\x01")):
        return "a raw stream (H.264, HEVC, MPEG) without a container, and so without times; put it into MP4 or Matroska"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 or byte >= 128 for byte in head):
        return "text, not a video"
    return "no video format that is read here; convert it to MP4 or Matroska"


def _readable_stream(container: InputContainer, file: OpenFile, kind: Kind | None) -> VideoStream:
    """The main video stream, which is not encrypted."""
    stream: VideoStream | None = None
    refusal: VideoError | None = None
    try:
        stream = _main_stream(container, file)
    except (NoVideoStream, UnsupportedCodec) as error:
        refusal = error
    if kind is not None:
        if how := kind.encryption(file, stream.id if stream else None):
            raise Encrypted(f"{file.name}: its pictures are encrypted ({how}); decrypt it first, no keys are kept here")
        if refusal is not None:
            refusal = _cut_off(file, kind, header=True) or refusal
    if stream is None:
        raise refusal or NoVideoStream(file.name)
    return stream


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
