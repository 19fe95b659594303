"""The form of a sealed blob: a header, and segments that are each sealed by themselves. docs/storage-format.md says it
byte by byte; this is AES-GCM-HKDF as in Tink's streaming AEAD, with a header of its own."""

import os
import struct
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipeline.errors import Altered

#: What a sealed blob begins with. No video does, nor any text.
MAGIC: Final = b"\x8bSEALED"

#: Versions of the format that are read; the last is written.
VERSION: Final = 1

#: Bytes of a data key, and of the key that is made of it for a blob: AES-256.
KEY_BYTES: Final = 32

#: Bytes by which a sealed segment is longer than what is in it.
TAG_BYTES: Final = 16

#: Sealed segments have 2 ** this bytes. 64 KiB: reading a few bytes somewhere opens no more than that, and of a GiB the
#: tags are 256 KiB.
SEGMENT_BITS: Final = 16

#: As small, and as large, as they may be.
LEAST_BITS, MOST_BITS = 6, 24

_PREFIX_BYTES, _SALT_BYTES = 7, 32
_HEADER: Final = struct.Struct(f">{len(MAGIC)}sBB{_PREFIX_BYTES}s{_SALT_BYTES}s")
HEADER_BYTES: Final = _HEADER.size

#: Segments are counted in 32 bits.
MOST_SEGMENTS: Final = 1 << 32

_INFO: Final = b"automations sealed blob"


@dataclass(frozen=True, slots=True)
class What:
    """What a blob is. Its bytes open as this, and as nothing else."""

    tenant: str
    """Whose it is."""
    blob: str
    """Its name; no other blob of the tenant ever has the same with the same purpose and generation."""
    purpose: str
    """What it is for: `video`, `part`."""
    generation: int = 1
    """How often bytes were written under this name; those of an older writing do not open as the newer one."""

    def encoded(self) -> bytes:
        """Each text with its length before it, so that no two of these have the same bytes."""
        texts = (text.encode() for text in (self.tenant, self.blob, self.purpose))
        return b"".join(struct.pack(">H", len(text)) + text for text in texts) + struct.pack(">Q", self.generation)


@dataclass(frozen=True, slots=True)
class Header:
    """What a sealed blob begins with."""

    segment_bits: int
    prefix: bytes
    """[7] What all nonces of the blob begin with."""
    salt: bytes
    """[32] What the blob's key is made with."""

    @property
    def segment_bytes(self) -> int:
        """Of a sealed segment; the last one may have fewer."""
        return 1 << self.segment_bits

    @property
    def plain_bytes(self) -> int:
        """Of what is in a segment."""
        return self.segment_bytes - TAG_BYTES

    def encoded(self) -> bytes:
        """[48] As it stands in the blob."""
        return _HEADER.pack(MAGIC, VERSION, self.segment_bits, self.prefix, self.salt)

    def sealed_bytes(self, plain_bytes: int) -> int:
        """How long a blob is that has so many bytes in it."""
        return HEADER_BYTES + plain_bytes + TAG_BYTES * max(1, -(-plain_bytes // self.plain_bytes))


def fresh(segment_bits: int = SEGMENT_BITS) -> Header:
    """The header of a new blob; each has its own."""
    return Header(segment_bits, os.urandom(_PREFIX_BYTES), os.urandom(_SALT_BYTES))


def is_sealed(head: bytes) -> bool:
    """Whether bytes that begin so say that they are sealed. Anybody can write that: it proves nothing."""
    return head.startswith(MAGIC)


def parsed(head: bytes) -> Header:
    """The header, which nothing proves yet. Raises Altered where it is none that is read here."""
    if len(head) < HEADER_BYTES:
        raise Altered("it ends in its header")
    magic, version, bits, prefix, salt = _HEADER.unpack(head[:HEADER_BYTES])
    if magic != MAGIC or version != VERSION or not LEAST_BITS <= bits <= MOST_BITS:
        raise Altered("it does not begin as a sealed blob of a version that is read here")
    return Header(bits, prefix, salt)


class Cipher:
    """Seals and opens the segments of one blob."""

    def __init__(self, key: bytes, what: What, header: Header) -> None:
        """`key`: [32] the data key."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"a data key has {KEY_BYTES} bytes, {len(key) = }")
        self._prefix = header.prefix
        self._said = _INFO + header.encoded() + what.encoded()
        self._key = AESGCM(HKDF(SHA256(), KEY_BYTES, header.salt, self._said).derive(key))

    def seal(self, number: int, plain: bytes | memoryview, *, last: bool) -> bytes:
        """Segment `number`, sealed: 16 bytes longer. Each number is sealed once."""
        if number >= MOST_SEGMENTS:
            raise ValueError(f"a blob has at most {MOST_SEGMENTS} segments")
        return self._key.encrypt(self._nonce(number, last), plain, self._said)

    def open(self, number: int, sealed: bytes | memoryview, *, last: bool) -> bytes:
        """What is in segment `number`. Raises Altered where it is not what was sealed as that."""
        try:
            return self._key.decrypt(self._nonce(number, last), sealed, self._said)
        except InvalidTag:
            raise Altered(f"segment {number} is not what was sealed there") from None

    def _nonce(self, number: int, last: bool) -> bytes:
        return self._prefix + struct.pack(">IB", number, last)
