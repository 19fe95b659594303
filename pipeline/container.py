"""Opens a media file and picks its moving picture. The only place that knows FFmpeg's demuxers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import ArgumentError, EOFError, FFmpegError, InvalidDataError
from av.stream import Disposition
from av.video.stream import VideoStream

from pipeline import allocator
from pipeline.errors import (
    CorruptVideo,
    Encrypted,
    LimitExceeded,
    NoVideoStream,
    Truncated,
    UnsupportedCodec,
    UnsupportedContainer,
    VideoError,
)
from pipeline.limits import INPUT_LIMITS, InputLimits
from pipeline.opened import OpenFile, Video, open_file
from pipeline.sealed.files import Stream
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


#: What FFmpeg reads at once of a sealed file.
_BUFFER_BYTES = 1 << 16

#: Options that have FFmpeg find no decoder while it opens a file, and read no further than the headers for want of one.
_HEADERS_ONLY = {"codec_whitelist": "none", "probesize": "32", "analyzeduration": "1"}


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
    options = {
        # The file that is open already is all that FFmpeg may read, whatever the bytes in it ask for.
        "protocol_whitelist": "fd" if file.reader is None else "none",
        "format_whitelist": ",".join(DEMUXERS),
        # Some demuxers leave out in silence what is beyond the bound, so one more is let in to be seen.
        "max_streams": str(limits.max_streams + 1),
    }
    if kind is not None and kind.headers_suffice:
        options |= _HEADERS_ONLY
    if file.reader is None:
        os.lseek(file.descriptor, 0, os.SEEK_SET)
        source, options = "fd:", options | {"fd": str(file.descriptor)}
    else:
        source = Stream(file.reader)
    try:
        container = av.open(source, "r", options=options, metadata_errors="replace", buffer_size=_BUFFER_BYTES)
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


def main_sound(container: InputContainer) -> AudioStream | None:
    """The sound that goes with the pictures, for all who want it: the first one that players are told to begin with,
    else the first; None where there is none."""
    tracks = container.streams.audio
    return max(tracks, key=lambda each: bool(each.disposition & Disposition.default), default=None)


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
    head = file.read_at(0, 64)
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
