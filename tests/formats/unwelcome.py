"""Files to refuse: encrypted, cut off, of many streams; written by FFmpeg where it can, else bent out of others."""

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from uuid import UUID

import av
import numpy as np

from pipeline.synthesis import AUDIO_RATE_HZ, Encoding, write_video
from tests.pipeline.sandbox import forge

#: A cipher that any test can undo: what matters is that it does not look like pictures.
_CIPHER = 0x5A

#: GUIDs of ASF objects: Content Encryption, Extended Content Encryption.
_ASF_DRM = UUID("2211b3fb-bd23-11d2-b4b7-00a0c955fc6e").bytes_le
_ASF_PLAYREADY = UUID("298ae614-2622-4c17-b935-dae07ee9289c").bytes_le


def common_encryption(path: Path, *, sound: bool = False, **muxer: str) -> None:
    """An MP4 or MOV whose samples are encrypted by AES-CTR (ISO/IEC 23001-7, scheme `cenc`)."""
    how = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "2b" * 16, "encryption_kid": "0f" * 16}
    with av.open(str(path), "w", container_options=how | muxer) as output:
        stream = output.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = forge.WIDTH, forge.HEIGHT, "yuv420p"
        track = output.add_stream("aac", rate=AUDIO_RATE_HZ, layout="mono") if sound else None
        for number, pixels in enumerate(forge.moving(30)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if track is not None:
            _hum(output, track)


def encrypted_sound(path: Path) -> None:
    """An MP4 that says that its sound is encrypted and its pictures are not (they are; nobody looks at them)."""
    common_encryption(path, sound=True)
    data = path.read_bytes()
    video, sound = data.index(b"trak"), data.rindex(b"trak")
    clear = data[video:sound]
    for kind, instead in ((b"encv", b"avc1"), (b"sinf", b"free"), (b"senc", b"free"), (b"saiz", b"free")):
        clear = clear.replace(kind, instead)
    path.write_bytes(data[:video] + clear.replace(b"saio", b"free") + data[sound:])


def many_streams(path: Path, count: int, *, sound: bool = False) -> Path:
    """A file of `count` video streams of three pictures each; with `sound`, one more stream that hums."""
    with av.open(str(path), "w") as output:
        streams = [output.add_stream("mpeg4", rate=25) for _ in range(count)]
        track = output.add_stream("aac", rate=AUDIO_RATE_HZ, layout="mono") if sound else None
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(3):
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(np.full((72, 64), 50 * number, np.uint8), format="yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                output.mux(stream.encode(frame))
        for stream in streams:
            output.mux(stream.encode(None))
        if track is not None:
            _hum(output, track)
    return path


def _hum(output, track) -> None:
    wave = np.sin(np.arange(AUDIO_RATE_HZ, dtype=np.float32) / 9)[None]
    frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
    frame.sample_rate = AUDIO_RATE_HZ
    output.mux(track.encode(frame))
    output.mux(track.encode(None))


def fairplay() -> bytes:
    """An MP4 with the sample entry of films from iTunes."""
    return forge.honest("mp4").replace(b"avc1", b"drmi")


def matroska(*, key_id: bool) -> bytes:
    """A Matroska file whose only track says that its frames are encrypted by AES."""
    algorithm = forge.unsigned(0x47E1, 5) + (forge.element(0x47E2, b"k" * 16) if key_id else b"")
    kind = forge.unsigned(0x5033, 1) + forge.element(0x5035, algorithm)
    encodings = forge.element(0x6D80, forge.element(0x6240, forge.unsigned(0x5032, 1) + kind))
    size = forge.element(0xE0, forge.unsigned(0xB0, forge.WIDTH) + forge.unsigned(0xBA, forge.HEIGHT))
    head = forge.unsigned(0xD7, 1) + forge.unsigned(0x73C5, 1) + forge.unsigned(0x83, 1)
    track = forge.element(0xAE, head + forge.element(0x86, b"V_MJPEG") + size + encodings)
    block = b"\x81\0\0\x80" + bytes(9) + _enciphered(forge.jpeg())
    cluster = forge.element(0x1F43B675, forge.unsigned(0xE7, 0) + forge.element(0xA3, block))
    info = forge.element(0x1549A966, forge.unsigned(0x2AD7B1, 10**6))
    return forge.EBML + forge.element(0x18538067, info + forge.element(0x1654AE6B, track) + cluster)


def transport() -> bytes:
    """A transport stream whose video packets are scrambled, as pay television is."""
    data = bytearray(forge.honest("ts"))
    for at in range(0, len(data), 188):
        pid = (data[at + 1] & 0x1F) << 8 | data[at + 2]
        if pid == 0x100 and data[at + 3] & 0x10:
            start = at + 4 + (1 + data[at + 4] if data[at + 3] & 0x20 else 0)
            data[at + 3] |= 0x80
            data[start : at + 188] = _enciphered(data[start : at + 188])
    return bytes(data)


def dvd(path: Path) -> None:
    """A program stream whose video packets are marked as scrambled."""
    write_video(path, forge.moving(30), fps=25, encoding=Encoding("mpeg2video", b_frames=0, bit_rate_bps=400_000))
    data = bytearray(path.read_bytes())
    at = data.find(b"\0\0\1\xe0")
    while at >= 0:
        data[at + 6] |= 0x20
        at = data.find(b"\0\0\1\xe0", at + 6)
    path.write_bytes(data)


def windows_media(path: Path, *, extended: bool) -> None:
    """An ASF file with one of the two objects that tell of its DRM."""
    path.write_bytes(_asf(path))
    data = path.read_bytes()
    length, count = struct.unpack_from("<QI", data, 16)
    body = bytes(32)
    drm = (_ASF_PLAYREADY if extended else _ASF_DRM) + struct.pack("<Q", 24 + len(body)) + body
    head = data[:16] + struct.pack("<QI", length + len(drm), count + 1) + data[28:length]
    path.write_bytes(head + drm + data[length:])


def _asf(path: Path) -> bytes:
    how = Encoding("wmv2", gop=10, b_frames=0, bit_rate_bps=400_000)
    return write_video(path, forge.moving(30), fps=25, encoding=how).read_bytes()


def without_index(path: Path) -> None:
    """What is left of a recording that was interrupted: an MP4 of whole boxes, but for the index, which comes last."""
    data = forge.honest("mp4")
    path.write_bytes(data[: data.index(b"moov") - 4])


def cut(suffix: str, size: int) -> Callable[[Path], None]:
    """Writes the first `size` bytes of an honest file."""

    def make(path: Path) -> None:
        if suffix in ("mp4", "mkv", "avi", "fragmented"):
            whole = forge.honest(suffix)
        elif suffix == "mxf":
            how = Encoding("mpeg2video", gop=10, b_frames=0, bit_rate_bps=400_000)
            whole = write_video(path, forge.moving(30), fps=25, encoding=how).read_bytes()
        else:
            whole = _asf(path)
        assert size < len(whole)
        path.write_bytes(whole[:size])

    return make


def _enciphered(data: bytes | bytearray) -> bytes:
    return bytes(byte ^ _CIPHER for byte in data)


ENCRYPTED: dict[str, tuple[str, Callable[[Path], None]]] = {
    "cenc": ("mp4", common_encryption),
    "cenc-mov": ("mov", common_encryption),
    "cenc-fragments": ("mp4", lambda path: common_encryption(path, movflags="frag_keyframe+empty_moov")),
    "fairplay": ("mp4", lambda path: _write(path, fairplay())),
    "mkv-encrypted": ("mkv", lambda path: _write(path, matroska(key_id=True))),
    "mkv-encrypted-no-key": ("mkv", lambda path: _write(path, matroska(key_id=False))),
    "ts-scrambled": ("ts", lambda path: _write(path, transport())),
    "dvd-scrambled": ("vob", dvd),
    "wmv-drm": ("asf", lambda path: windows_media(path, extended=False)),
    "wmv-playready": ("asf", lambda path: windows_media(path, extended=True)),
}
"""name -> (suffix, what writes it)"""

CUT_OFF: dict[str, tuple[str, str, Callable[[Path], None]]] = {
    "no-index": ("mp4", "is missing", without_index),
    "in-pictures": ("mp4", "mdat box should go on to", cut("mp4", 5000)),
    "in-index": ("mp4", "moov box should go on to", cut("mp4", 9900)),
    "before-fragments": ("mp4", "moov box should go on to", cut("fragmented", 300)),
    "mkv-in-header": ("mkv", "description of tracks should go on to", cut("mkv", 300)),
    "mkv-in-first-picture": ("mkv", "cluster should go on to", cut("mkv", 900)),
    "avi-in-header": ("avi", "RIFF chunk should go on to", cut("avi", 600)),
    "wmv-in-header": ("asf", "header should go on to", cut("asf", 300)),
    "mxf-in-header": ("mxf", "header should go on to", cut("mxf", 2000)),
}
"""name -> (suffix, what the message says, what writes it)"""


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
