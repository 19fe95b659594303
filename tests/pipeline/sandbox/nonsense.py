"""Attacks by structure: other formats, streams without number, times that make no sense, boxes in boxes, and names."""

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.pipeline.sandbox import forge
from tests.pipeline.sandbox.attacks import HARMLESS, NO_VIDEO, REDIRECTS, Attack, Place
from tests.pipeline.sandbox.bombs import BOMBS, TOO_MUCH


def _tracks(count: int) -> Callable[[Place], bytes]:
    """A real MP4 whose only track is there `count` times."""

    def repeat(moov: bytes) -> bytes:
        at = moov.find(b"trak") - 4
        size = struct.unpack_from(">I", moov, at)[0]
        return moov[: at + size] + moov[at : at + size] * (count - 1) + moov[at + size :]

    return lambda _: forge.rebox(forge.honest("mp4"), (b"moov",), repeat)


def _nested(kind: bytes, depth: int) -> Callable[[Place], bytes]:
    def make(_: Place) -> bytes:
        sizes = (struct.pack(">I", 8 * (depth - level)) + kind for level in range(depth))
        return forge.box(b"ftyp", b"isom\0\0\2\0isom") + b"".join(sizes)

    return make


def _zipped(*files: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def _tar(place: Place) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo("video.mp4")
        link.type, link.linkname = tarfile.SYMTYPE, str(place.video)
        archive.addfile(link)
    return buffer.getvalue()


def _tags(count: int) -> bytes:
    tag = forge.element(0x67C8, forge.element(0x45A3, b"NAME") + forge.element(0x4487, b"x" * 20))
    return forge.element(0x1254C367, forge.element(0x7373, tag * count))


_OPEN_EBML = forge.EBML + b"\x18\x53\x80\x67" + forge.UNKNOWN_SIZE

NONSENSE: tuple[Attack, ...] = (
    Attack("a zip", "a.mp4", lambda _: _zipped(("a.mp4", forge.honest("mp4")))),
    Attack("a zip bomb", "a.mkv", lambda _: _zipped(("a.zip", _zipped(("zeros", bytes(20 << 20)))))),
    Attack("gzip", "a.mp4", lambda _: gzip.compress(forge.honest("mp4"), mtime=0)),
    Attack("tar with a link", "a.tar", _tar),
    Attack("pdf", "a.mp4", lambda _: b"%PDF-1.7\n1 0 obj<</Type/Catalog/OpenAction<</S/Launch>>>>endobj\n" + bytes(99)),
    Attack("a program", "a.mp4", lambda _: Path("/proc/self/exe").read_bytes()[:300_000]),
    Attack("a script", "a.mp4", lambda place: f"#!/bin/sh\ncat {place.token}\n".encode()),
    Attack("html", "a.mp4", lambda place: f"<html><script src='{place.url}'></script></html>".encode()),
    Attack(
        "svg",
        "a.mp4",
        lambda place: f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{place.video}"/></svg>'.encode(),
    ),
    Attack("a picture", "a.mp4", lambda _: forge.jpeg()),
    Attack("a video called text", "a.txt", lambda _: forge.honest("mp4"), HARMLESS),
    Attack("matroska called avi", "a.avi", lambda _: forge.honest("mkv"), HARMLESS),
    Attack("10,000 tracks", "a.mp4", _tracks(10_000), TOO_MUCH),
    Attack("1,000 streams in avi", "a.avi", lambda _: forge.with_subtitles(forge.honest("avi"), b"x", 1000), TOO_MUCH),
    Attack(
        "300 streams",
        "a.mkv",
        lambda _: forge.matroska(range(0, 12_000, 40), tracks=300),
        NO_VIDEO | TOO_MUCH | HARMLESS,
    ),
    Attack(
        "times near the end of 64 bits",
        "a.mkv",
        lambda _: forge.matroska([(1 << 63) - 200, (1 << 63) - 100, (1 << 63) - 1], scale=1),
        NO_VIDEO | TOO_MUCH | HARMLESS,
    ),
    Attack(
        "times past the end of 64 bits",
        "a.mkv",
        lambda _: forge.matroska([0, 1 << 62, -(1 << 62), 1], scale=10**9),
        NO_VIDEO | TOO_MUCH | HARMLESS,
    ),
    Attack("negative times", "a.mkv", lambda _: forge.matroska([-4000, -3000, -2000]), NO_VIDEO | HARMLESS),
    Attack("times that go back", "a.mkv", lambda _: forge.matroska([9000, 8000, 7000, 0, 100]), NO_VIDEO | HARMLESS),
    Attack("one time for all", "a.mkv", lambda _: forge.matroska([0] * 50), NO_VIDEO | HARMLESS),
    Attack("a clock that stands", "a.mkv", lambda _: forge.matroska(scale=0), NO_VIDEO | HARMLESS),
    Attack("100,000 nested boxes", "a.mp4", _nested(b"moov", 100_000)),
    Attack("100,000 nested tracks", "a.mov", _nested(b"trak", 100_000)),
    Attack(
        "a box of 8 EiB",
        "a.mp4",
        lambda _: forge.box(b"ftyp", b"isom\0\0\2\0isom") + b"\0\0\0\1moov\x7f" + b"\xff" * 7 + bytes(500),
    ),
    Attack(
        "a box of 4 GiB",
        "a.mp4",
        lambda _: forge.box(b"ftyp", b"isom\0\0\2\0isom") + b"\xff\xff\xff\xffmoov" + bytes(500),
    ),
    Attack("ebml without end", "a.mkv", lambda _: _OPEN_EBML + (b"\x1f\x43\xb6\x75" + forge.UNKNOWN_SIZE) * 50_000),
    Attack(
        "ebml in ebml",
        "a.mkv",
        lambda _: (
            _OPEN_EBML
            + (
                b"\x12\x54\xc3\x67"
                + forge.UNKNOWN_SIZE
                + b"\x73\x73"
                + forge.UNKNOWN_SIZE
                + (b"\x67\xc8" + forge.UNKNOWN_SIZE) * 50_000
            )
        ),
    ),
    Attack("ebml header of 1 EiB", "a.mkv", lambda _: b"\x1a\x45\xdf\xa3\x01\x0f" + b"\xff" * 6 + bytes(1000)),
    Attack(
        "a title of 16 MB",
        "a.mkv",
        lambda _: forge.matroska(info=forge.element(0x7BA9, b"title" * 3_200_000)),
        HARMLESS | NO_VIDEO,
    ),
    Attack("100,000 tags", "a.mkv", lambda _: forge.matroska(more=_tags(100_000)), HARMLESS | NO_VIDEO),
    Attack("a name like a URL", "http:x.mp4", lambda _: forge.honest("mp4"), HARMLESS),
    Attack("a name like a protocol", "concat:a|b.mp4", lambda _: forge.honest("mp4"), HARMLESS),
    Attack("a name with options", "subfile,,start,0,end,9,,:x.mp4", lambda _: forge.honest("mp4"), HARMLESS),
    Attack("a name like a switch", "-i.mp4", lambda _: forge.honest("mp4"), HARMLESS),
    Attack("a name like a pattern", "%03d.mp4", lambda _: forge.honest("mp4"), HARMLESS),
    Attack("a name of several lines", "a\n\x1b[2J\x1b]0;owned\x07.mp4", lambda _: forge.honest("mp4"), HARMLESS),
    Attack("no video, a name of several lines", "b\nerror: \x1b[31mred.mp4", lambda place: f"{place.url}\n".encode()),
    Attack("a device by name", "fd:0", lambda _: forge.honest("mp4"), HARMLESS),
)

ATTACKS: tuple[Attack, ...] = REDIRECTS + BOMBS + NONSENSE
