"""What somebody who may write to the disk can do to a blob; each gives a blob that is another one, or None."""

import random
from collections.abc import Callable

from pipeline.sealed.form import HEADER_BYTES

Change = Callable[[random.Random, bytes, int], bytes]


def _split(blob: bytes, size: int) -> tuple[bytes, list[bytes]]:
    body = blob[HEADER_BYTES:]
    return blob[:HEADER_BYTES], [body[at : at + size] for at in range(0, len(body), size)]


def flipped(rng: random.Random, blob: bytes, _: int) -> bytes:
    """One to three bits, anywhere."""
    out = bytearray(blob)
    for _ in range(rng.randint(1, 3)):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def flipped_in_header(rng: random.Random, blob: bytes, _: int) -> bytes:
    """One bit of the header."""
    out = bytearray(blob)
    out[rng.randrange(HEADER_BYTES)] ^= 1 << rng.randrange(8)
    return bytes(out)


def cut(rng: random.Random, blob: bytes, _: int) -> bytes:
    """Anywhere."""
    return blob[: rng.randrange(len(blob))]


def cut_between(rng: random.Random, blob: bytes, size: int) -> bytes:
    """Between two segments."""
    header, segments = _split(blob, size)
    return header + b"".join(segments[: rng.randrange(len(segments))])


def added(rng: random.Random, blob: bytes, _: int) -> bytes:
    """Bytes at the end."""
    return blob + rng.randbytes(rng.randint(1, 100))


def swapped(rng: random.Random, blob: bytes, size: int) -> bytes:
    """Two segments."""
    header, segments = _split(blob, size)
    a, b = rng.randrange(len(segments)), rng.randrange(len(segments))
    segments[a], segments[b] = segments[b], segments[a]
    return header + b"".join(segments)


def dropped(rng: random.Random, blob: bytes, size: int) -> bytes:
    """One segment, or several in a row."""
    header, segments = _split(blob, size)
    at = rng.randrange(len(segments))
    del segments[at : at + rng.randint(1, 3)]
    return header + b"".join(segments)


def repeated(rng: random.Random, blob: bytes, size: int) -> bytes:
    """One segment, behind itself or elsewhere."""
    header, segments = _split(blob, size)
    segments.insert(rng.randint(0, len(segments)), rng.choice(segments))
    return header + b"".join(segments)


def reordered(rng: random.Random, blob: bytes, size: int) -> bytes:
    """All segments."""
    header, segments = _split(blob, size)
    rng.shuffle(segments)
    return header + b"".join(segments)


def written_over(rng: random.Random, blob: bytes, size: int) -> bytes:
    """A segment by another one of the blob."""
    header, segments = _split(blob, size)
    segments[rng.randrange(len(segments))] = rng.choice(segments)
    return header + b"".join(segments)


CHANGES: tuple[Change, ...] = (
    flipped,
    flipped_in_header,
    cut,
    cut_between,
    added,
    swapped,
    dropped,
    repeated,
    reordered,
    written_over,
)
