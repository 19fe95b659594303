"""Boxes of fragmented MP4 (ISO/IEC 14496-12, 8.8): one `moof` and one `mdat` for all tracks of a segment."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

#: A sample that decoding can start with, and one that depends on others (8.8.3.1).
_SYNC, _DEPENDS = 0x0200_0000, 0x0101_0000

#: What a `trun` says: where its bytes are; of each sample its duration, size, flags, and when it is shown.
_TRUN_FLAGS: Final = 0x1 | 0x100 | 0x200 | 0x400 | 0x800

#: Positions count from the `moof`.
_BASE_IS_MOOF: Final = 0x2_0000

#: Boxes within which others are, on the way to what is looked up here.
_WITHIN: Final = frozenset({b"moov", b"trak", b"mdia"})
_TO_ENTRIES: Final = _WITHIN | {b"minf", b"stbl"}


@dataclass(frozen=True, slots=True)
class Run:
    """Samples of one track that follow one another."""

    track: int
    """Its number in the header."""
    decoded: int
    """When the first one is decoded, in ticks."""
    duration: np.ndarray
    offset: np.ndarray
    sync: np.ndarray
    """int64 [N], int64 [N], bool [N]; see `tables.Samples`."""
    samples: Sequence[bytes]


def fragment(number: int, runs: Sequence[Run]) -> bytes:
    """A segment. `number`: counts from 1."""
    heads = [(run, _table(run), sum(map(len, run.samples))) for run in runs]
    size = 8 + 16 + sum(8 + 16 + 20 + 20 + table.nbytes for _, table, _ in heads)
    at, tracks = size + 8, []
    for run, table, length in heads:
        header = _full(b"tfhd", 0, _BASE_IS_MOOF, struct.pack(">I", run.track))
        time = _full(b"tfdt", 1, 0, struct.pack(">Q", run.decoded))
        rows = _full(b"trun", 0, _TRUN_FLAGS, struct.pack(">II", len(run.samples), at) + table.tobytes())
        tracks.append(_box(b"traf", header, time, rows))
        at += length
    moof = _box(b"moof", _full(b"mfhd", 0, 0, struct.pack(">I", number)), *tracks)
    assert len(moof) == size
    return b"".join((moof, struct.pack(">I4s", 8 + at - size - 8, b"mdat"), *(s for run in runs for s in run.samples)))


def header_of(file: bytes) -> bytes:
    """Its `ftyp` and `moov` alone. Raises ValueError where it has no such."""
    found = {kind: whole for kind, whole, _ in _boxes(file) if kind in (b"ftyp", b"moov")}
    if len(found) != 2:
        raise ValueError("an MP4 without a header")
    return found[b"ftyp"] + found[b"moov"]


def delayed(header: bytes, delay: int) -> bytes:
    """The header, whose first track now begins so many ticks into its samples (8.6.6)."""
    edit = _box(b"edts", _full(b"elst", 0, 0, struct.pack(">IIihh", 1, 0, delay, 1, 0)))
    out, done = [], False
    for kind, whole, content in _boxes(header):
        if kind != b"moov":
            out.append(whole)
            continue
        parts = []
        for inner, track, within in _boxes(content):
            if inner != b"trak" or done:
                parts.append(track)
                continue
            done = True
            kept = [(what, box) for what, box, _ in _boxes(within) if what != b"edts"]
            parts.append(_box(b"trak", *(box + edit if what == b"tkhd" else box for what, box in kept)))
        out.append(_box(b"moov", *parts))
    return b"".join(out)


def with_bits(header: bytes) -> bytes:
    """The header, whose FLAC says in its sample entry how many bits its samples have, as its STREAMINFO does (FLAC in
    ISOBMFF, 3.3.1; RFC 9639, 8.2): FFmpeg leaves out the former where it decodes nothing, and browsers compare both."""
    out = bytearray(header)
    for at, kind in _entries(header):
        info = at + 36 + 8 + 4 + 4
        if kind == b"fLaC" and len(header) >= info + 18:
            bits = (int.from_bytes(header[info + 10 : info + 18], "big") >> 36 & 31) + 1
            struct.pack_into(">H", out, at + 26, bits)
    return bytes(out)


def clocks(header: bytes) -> list[int]:
    """Ticks in a second, of each track. Raises ValueError where the header makes no sense."""
    found = []
    try:
        for kind, _, content in _inner(header):
            if kind == b"mdhd":
                found.append(struct.unpack_from(">I", content, 20 if content[0] else 12)[0])
    except (struct.error, IndexError) as error:
        raise ValueError("a header that ends too early") from error
    return found


def _entries(data: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    """(where it is, its kind) of the first sample entry of each track."""
    for kind, whole, content in _boxes(data[at:end]):
        inner = at + len(whole) - len(content)
        if kind in _TO_ENTRIES:
            yield from _entries(data, inner, at + len(whole))
        elif kind == b"stsd" and len(content) >= 16:
            yield inner + 8, content[12:16]
        at += len(whole)


def _table(run: Run) -> np.ndarray:
    table = np.empty((len(run.samples), 4), ">u4")
    table[:, 0] = run.duration
    table[:, 1] = [len(sample) for sample in run.samples]
    table[:, 2] = np.where(run.sync, _SYNC, _DEPENDS)
    table[:, 3] = run.offset
    return table


def _box(kind: bytes, *content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + sum(map(len, content)), kind) + b"".join(content)


def _full(kind: bytes, version: int, flags: int, content: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), content)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """(kind, the whole box, what is in it), one after the other."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if size < 8:
            return
        yield kind, data[at : at + size], data[at + 8 : at + size]
        at += size


def _inner(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    for kind, whole, content in _boxes(data):
        if kind in _WITHIN:
            yield from _inner(content)
        else:
            yield kind, whole, content
