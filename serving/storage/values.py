"""Values of columns that nobody reads or changes without their key. Their form, byte by byte: docs/storage-format.md.

Whose key that is, and where it is kept: `serving.storage.keyring`.
"""

import os
import struct
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipeline.errors import Altered
from pipeline.sealed.form import KEY_BYTES, TAG_BYTES

#: Versions of the form that are read; the last is written. A sealed value begins with its version.
VERSION: Final = 1

Column = Literal[
    # by the key of a video
    "report.body",
    "checkpoint.output",
    "derived.sealed",
    # by the key of a tenant
    "webhook_endpoint.sealed",
    "upload.sealed",
    "question.asked",
    "question.answer",
]
"""All columns that are sealed. A value opens in the column that it was sealed for only."""

_NONCE_BYTES: Final = 12
_KEY, _VALUE = b"automations key of values", b"automations sealed value"


class Values:
    """Seals and opens values of one owner: of a video, or of a tenant."""

    def __init__(self, tenant: str, key: bytes) -> None:
        """
        Args:
            tenant: whose rows they are in.
            key: [32] the data key of the owner's values.
        """
        if len(key) != KEY_BYTES:
            raise ValueError(f"a data key has {KEY_BYTES} bytes, {len(key) = }")
        self._tenant, self._key = tenant, key

    def seal(self, column: Column, row: str, plain: bytes, nonce: bytes | None = None) -> bytes:
        """A value, sealed: 29 bytes longer.

        Args:
            row: names the row within the tenant's.
            nonce: [12]. None: a random one. Tests of the form give one; two values never have the same.
        """
        nonce = nonce or os.urandom(_NONCE_BYTES)
        return bytes((VERSION,)) + nonce + self._cipher(column).encrypt(nonce, plain, self._said(column, row))

    def open(self, column: Column, row: str, sealed: bytes) -> bytes:
        """What is in a sealed value. Raises Altered where it is not what was sealed there."""
        nonce = sealed[1 : 1 + _NONCE_BYTES]
        if len(sealed) < 1 + _NONCE_BYTES + TAG_BYTES or sealed[0] != VERSION:
            raise Altered(f"{column} of {row} is no sealed value of a version that is read here")
        try:
            return self._cipher(column).decrypt(nonce, sealed[1 + _NONCE_BYTES :], self._said(column, row))
        except InvalidTag:
            raise Altered(f"{column} of {row} is not what was sealed there") from None

    def _cipher(self, column: Column) -> AESGCM:
        info = _KEY + bytes((VERSION,)) + _texts(self._tenant, column)
        return AESGCM(HKDF(SHA256(), KEY_BYTES, None, info).derive(self._key))

    def _said(self, column: Column, row: str) -> bytes:
        return _VALUE + bytes((VERSION,)) + _texts(self._tenant, column, row)


def _texts(*texts: str) -> bytes:
    """Each with its length before it, so that no two lists have the same bytes."""
    encoded = (text.encode() for text in texts)
    return b"".join(struct.pack(">H", len(text)) + text for text in encoded)
