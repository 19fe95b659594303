"""What a file says of itself, read without FFmpeg: what it is, whether all of it is there, whether it is encrypted.

FFmpeg makes the best of what it finds: of a file that was cut off it reads what there is, of an encrypted one it takes
the cipher for pictures. Whoever sent such a file wants to hear which of the two it is. Everything here reads headers
only, a bounded number of them, from a file that is open already; what makes no sense counts as not said.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.structure import asf, boxes, ebml, mpeg, mxf, riff
from pipeline.structure.base import Ending, OpenFile, no_encryption, no_ending

__all__ = ["HEAD_BYTES", "Ending", "Kind", "kind_of", "kind_of_head", "media_type_of_head"]

#: Bytes at the beginning by which a kind is known.
HEAD_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of container."""

    name: str
    """For people, with its article."""
    media_type: str
    """As HTTP has it. Of an MP4 or a Matroska, see `media_type_of_head`."""
    is_it: Callable[[bytes], bool]
    """Whether a file begins like one."""
    ending: Callable[[OpenFile], Ending | None]
    """How the file shows that it was cut off; None where it does not."""
    encryption: Callable[[OpenFile, int | None], str | None]
    """How the pictures are encrypted, in a few words; None where they are not, or nothing says so. Takes the number
    that FFmpeg gave the stream (`Stream.id`), None where it found none."""
    headers_suffice: bool = False
    """Whether its headers describe every stream, so that no packet has to be looked into before they can be read."""


def _begins(magic: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magic)


KINDS = (
    Kind("an MP4 or MOV", "video/mp4", boxes.is_it, boxes.ending, boxes.encryption, headers_suffice=True),
    Kind("a Matroska or WebM", "video/x-matroska", ebml.is_it, ebml.ending, ebml.encryption, headers_suffice=True),
    Kind("an AVI", "video/x-msvideo", riff.is_it, riff.ending, no_encryption),
    Kind("an ASF (WMV)", "video/x-ms-wmv", asf.is_it, asf.ending, asf.encryption),
    Kind("an MXF", "application/mxf", mxf.is_it, mxf.ending, no_encryption),
    Kind("an MPEG transport stream", "video/mp2t", mpeg.is_transport, no_ending, mpeg.scrambled_transport),
    Kind("an MPEG program stream", "video/mpeg", mpeg.is_program, no_ending, mpeg.scrambled_program),
    Kind("an FLV", "video/x-flv", _begins(b"FLV\1"), no_ending, no_encryption),
    Kind("an Ogg", "video/ogg", _begins(b"OggS"), no_ending, no_encryption),
    Kind("an IVF", "video/x-ivf", _begins(b"DKIF"), no_ending, no_encryption),
    Kind("a NUT", "video/x-nut", _begins(b"nut/multimedia container\0"), no_ending, no_encryption),
    Kind("a GIF", "image/gif", _begins(b"GIF8"), no_ending, no_encryption),
    Kind("a RealMedia", "application/vnd.rn-realmedia", _begins(b".RMF"), no_ending, no_encryption),
)


def kind_of(file: OpenFile) -> Kind | None:
    """What the first bytes of `file` say that it is; None where they say nothing that is known here."""
    return kind_of_head(file.read_at(0, HEAD_BYTES))


def kind_of_head(head: bytes) -> Kind | None:
    """The same, of the first `HEAD_BYTES` of a file, or all of a shorter one."""
    return next((kind for kind in KINDS if kind.is_it(head)), None)


def media_type_of_head(head: bytes) -> str:
    """The media type of a file that begins so; of one that is not known here, that of any bytes."""
    kind = kind_of_head(head)
    if kind is None:
        return "application/octet-stream"
    if kind.is_it is boxes.is_it and head[4:12] == b"ftypqt  ":
        return "video/quicktime"
    # Its DocType, in the header of the first element.
    if kind.is_it is ebml.is_it and b"webm" in head[:64]:
        return "video/webm"
    return kind.media_type
