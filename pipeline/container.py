"""Opens a media file and picks its moving picture. The only place that knows FFmpeg's demuxers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.error import ArgumentError, FFmpegError, InvalidDataError
from av.stream import Disposition
from av.video.stream import VideoStream

from pipeline.errors import CorruptVideo, InputNotFound, NotAVideo, NoVideoStream, UnsupportedCodec

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

#: Codecs of pictures, not of moving ones: a file whose only video is one of these holds a cover or a still.
_STILL_CODECS = frozenset({"png", "bmp", "tiff", "webp", "jpeg2000", "gif"})


@contextmanager
def open_video(path: str | os.PathLike[str]) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open `path` and yield its container and main video stream.

    Raises:
        InputNotFound: there is no such readable file.
        NotAVideo: the bytes are no container that is read here.
        NoVideoStream: there is nothing moving in it.
        UnsupportedCodec: nothing here decodes it.
        CorruptVideo: the container was recognised but is broken.
    """
    file = Path(path)
    try:
        if not file.is_file():
            raise InputNotFound(f"{file}: no such file" if not file.exists() else f"{file}: not a regular file")
        if file.stat().st_size == 0:
            raise NotAVideo(f"{file}: the file is empty")
    except OSError as error:
        raise InputNotFound(f"{file}: cannot be looked at ({error.strerror})") from error
    try:
        # `file:` keeps FFmpeg from reading a protocol into a name such as "http:x.mp4".
        container = av.open(f"file:{file}", options={"format_whitelist": ",".join(DEMUXERS)}, metadata_errors="replace")
    except PermissionError as error:
        raise InputNotFound(f"{file}: may not be read ({error.strerror})") from error
    except (InvalidDataError, ArgumentError) as error:
        raise NotAVideo(f"{file}: {_refusal(file)}") from error
    except FFmpegError as error:
        raise CorruptVideo(f"{file}: cannot be opened ({error.strerror})") from error
    with container:
        yield container, _main_stream(container, file)


def _refusal(file: Path) -> str:
    """Why FFmpeg knew nothing of the bytes, as far as the first of them tell."""
    with file.open("rb") as handle:
        head = handle.read(64)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide"):
        return "an MP4 without a readable index (moov); it is probably cut off"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "a Matroska/WebM file whose header is damaged or cut off"
    if head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\x00", b"MM\x00*", b"RIFF")) and b"AVI " not in head:
        return "a picture or sound file, not a video"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 or byte >= 128 for byte in head):
        return "text, not a video"
    return "no video format that is read here"


def _main_stream(container: InputContainer, file: Path) -> VideoStream:
    cover = Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & cover]
    if not streams:
        what = (
            "only a cover picture"
            if container.streams.video
            else "sound only"
            if container.streams.audio
            else "no streams"
        )
        raise NoVideoStream(f"{file}: no video stream ({what})")
    default = Disposition.default

    def rank(stream: VideoStream) -> tuple[bool, int, int]:
        context = stream.codec_context
        area = context.width * context.height if context is not None else 0
        return bool(stream.disposition & default), area, -stream.index

    best = max(streams, key=rank)
    if best.codec_context is None:
        raise UnsupportedCodec(f"{file}: the video's codec is not known here")
    if best.codec_context.name in _STILL_CODECS and best.codec_context.name != "gif":
        raise NoVideoStream(f"{file}: a still picture ({best.codec_context.name}), not a video")
    return best
