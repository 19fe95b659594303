"""A second implementation, from docs/storage-format.md alone: bit by bit, with nothing of ours and no library's GCM."""

import hashlib
import hmac
import math

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_R = 0xE1 << 120


class Wrong(Exception):
    """A tag is another one."""


def opened(blob: bytes, key: bytes, tenant: str, name: str, purpose: str, generation: int) -> bytes:
    """All that is in a blob. Raises Wrong."""
    header, body = blob[:48], blob[48:]
    if header[:8] != b"\x8bSEALED\x01":
        raise Wrong
    size = 2 ** header[8]
    prefix, salt = header[9:16], header[16:48]
    said = b"automations sealed blob" + header
    for text in (tenant, name, purpose):
        encoded = text.encode("utf-8")
        said += len(encoded).to_bytes(2, "big") + encoded
    said += generation.to_bytes(8, "big")
    own = hkdf(key, salt, said)
    count = max(1, math.ceil(len(body) / size))
    out = b""
    for i in range(count):
        segment = body[i * size : (i + 1) * size]
        nonce = prefix + i.to_bytes(4, "big") + bytes([i == count - 1])
        out += _opened(own, nonce, segment, said)
    return out


def opened_value(sealed: bytes, key: bytes, tenant: str, column: str, row: str) -> bytes:
    """What is in a value of a row. Raises Wrong."""
    if sealed[:1] != b"\x01" or len(sealed) < 29:
        raise Wrong
    where = _named(tenant, column)
    own = hkdf(key, bytes(32), b"automations key of values\x01" + where)
    return _opened(own, sealed[1:13], sealed[13:], b"automations sealed value\x01" + where + _named(row))


def _named(*texts: str) -> bytes:
    encoded = [text.encode("utf-8") for text in texts]
    return b"".join(len(text).to_bytes(2, "big") + text for text in encoded)


def hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, 32 bytes: one block of the expansion."""
    extracted = hmac.new(salt, key, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


def _opened(key: bytes, nonce: bytes, sealed: bytes, said: bytes) -> bytes:
    encrypted, tag = sealed[:-16], sealed[-16:]
    lengths = (len(said) * 8).to_bytes(8, "big") + (len(encrypted) * 8).to_bytes(8, "big")
    hashed = _ghash(_aes(key, bytes(16)), _padded(said) + _padded(encrypted) + lengths)
    if _xor(hashed, _aes(key, nonce + b"\0\0\0\1")) != tag:
        raise Wrong
    stream = b"".join(_aes(key, nonce + (2 + n).to_bytes(4, "big")) for n in range(math.ceil(len(encrypted) / 16)))
    return _xor(encrypted, stream)


def _aes(key: bytes, block: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)


def _ghash(key: bytes, data: bytes) -> bytes:
    h, y = int.from_bytes(key, "big"), 0
    for at in range(0, len(data), 16):
        y = _times(y ^ int.from_bytes(data[at : at + 16], "big"), h)
    return y.to_bytes(16, "big")


def _times(x: int, y: int) -> int:
    product = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            product ^= y
        y = y >> 1 ^ (_R if y & 1 else 0)
    return product


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 16)


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=False))
