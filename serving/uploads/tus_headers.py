"""Headers of tus 1.0.0 that have a form of their own: `Upload-Metadata` and `Upload-Checksum`."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from serving.errors import InvalidRequest
from serving.uploads.incoming import Checksum
from serving.uploads.names import CONTROL

#: Algorithms of checksums, best first; hashlib has them under the same names.
ALGORITHMS: Final = ("sha256", "sha512", "sha1")

#: Bytes of `Upload-Metadata`.
MAX_METADATA_BYTES: Final = 8 << 10

#: Characters of a file's name and of a title, as elsewhere in the API.
_MOST: Final = {"filename": 255, "title": 500}

_KEY = re.compile(r"[!-+\--~]+")  # printable ASCII without space and comma


@dataclass(frozen=True, slots=True)
class About:
    """What a client says of an upload, as far as it matters here."""

    filename: str | None = None
    title: str | None = None


def metadata(header: str | None) -> About:
    """`filename ZmlsbS5tcDQ=,title RmlsbQ==` -> its file name and title; other keys are nothing to us.

    Raises:
        InvalidRequest: it is not what tus says it has to be, or one of ours cannot be a name.
    """
    if header is None or not header.strip():
        return About()
    if len(header) > MAX_METADATA_BYTES:
        raise _wrong("Upload-Metadata", f"more than {MAX_METADATA_BYTES} bytes")
    values: dict[str, bytes] = {}
    for pair in header.split(","):
        key, _, encoded = pair.strip(" \t").partition(" ")
        if not _KEY.fullmatch(key):
            raise _wrong("Upload-Metadata", "a key is empty, or has signs in it that keys cannot have")
        if key in values:
            raise _wrong("Upload-Metadata", f"{key} is there twice")
        values[key] = _decoded("Upload-Metadata", encoded, f"the value of {key}")
    return About(**{name: _text(name, values[name], most) for name, most in _MOST.items() if values.get(name)})


def checksum(header: str | None) -> Checksum | None:
    """`sha256 47DEQpj8...` -> the checksum.

    Raises:
        InvalidRequest: it is none, or of an algorithm that is not known here.
    """
    if header is None:
        return None
    algorithm, _, encoded = header.partition(" ")
    if algorithm not in ALGORITHMS:
        raise _wrong("Upload-Checksum", f"the algorithm has to be one of {', '.join(ALGORITHMS)}")
    digest = _decoded("Upload-Checksum", encoded, "the checksum")
    if len(digest) != hashlib.new(algorithm).digest_size:
        raise _wrong("Upload-Checksum", f"{algorithm} has {hashlib.new(algorithm).digest_size} bytes")
    return Checksum(algorithm, digest)


def _decoded(header: str, encoded: str, what: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _wrong(header, f"{what} is not base64") from error


def _text(name: str, value: bytes, most: int) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _wrong("Upload-Metadata", f"{name} is not UTF-8") from error
    if CONTROL.search(text) or len(text) > most:
        raise _wrong("Upload-Metadata", f"{name} has control characters, or more than {most} characters")
    return text


def _wrong(header: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"the header {header} cannot be read", ((header, what),))
