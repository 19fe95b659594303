"""A file that is locked by a passphrase: an archive on its owner's disk.

    magic (8 bytes: 8b 4c 4f 43 4b 45 44 01) || salt (16 bytes) || a sealed blob (docs/storage-format.md)

Its key is scrypt's (RFC 7914: N = 2^17, r = 8, p = 1) of the passphrase and the salt. In its context, tenant and blob
are empty, the purpose is `archive`, the generation 1.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from pipeline.errors import Altered
from pipeline.sealed.form import KEY_BYTES, What
from pipeline.sealed.reading import Reader
from pipeline.sealed.sealing import Sealer
from serving.errors import InvalidRequest

MAGIC: Final = b"\x8bLOCKED\x01"

_SALT_BYTES: Final = 16

_WHAT: Final = What("", "", "archive")

#: Characters of a passphrase, at least.
LEAST_CHARS: Final = 8


def locked(chunks: Iterable[bytes], passphrase: str) -> Iterator[bytes]:
    """The same bytes, locked. Raises InvalidRequest: the passphrase is too short."""
    if len(passphrase) < LEAST_CHARS:
        raise InvalidRequest(f"the passphrase has fewer than {LEAST_CHARS} characters")
    salt = os.urandom(_SALT_BYTES)
    sealer = Sealer(_key(passphrase, salt), _WHAT)
    yield MAGIC + salt
    for chunk in chunks:
        yield sealer.feed(chunk)
    yield sealer.finish()


def is_locked(file: Path) -> bool:
    """Whether a file is one. Raises OSError."""
    with file.open("rb") as opened:
        return opened.read(len(MAGIC)) == MAGIC


def unlocked(file: Path, passphrase: str) -> Iterator[bytes]:
    """What is in it, proved piece by piece.

    Raises:
        InvalidRequest: another passphrase locked it, or its end was changed.
        Altered: it was changed; what came before that is as it was.
        OSError: it cannot be read.
    """
    head = len(MAGIC) + _SALT_BYTES
    with file.open("rb") as opened:
        salt = opened.read(head)[len(MAGIC) :]

        def read_at(offset: int, length: int) -> bytes:
            opened.seek(head + offset)
            return opened.read(length)

        try:
            reader = Reader(read_at, max(0, file.stat().st_size - head), _key(passphrase, salt), _WHAT)
        except Altered:
            raise InvalidRequest(f"{file}: locked by another passphrase, cut off, or changed") from None
        yield from reader.pieces()


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=KEY_BYTES, n=1 << 17, r=8, p=1).derive(passphrase.encode())
