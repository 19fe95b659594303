"""MP4 and MOV: boxes in boxes (ISO/IEC 14496-12, 4.2). Encryption: ISO/IEC 23001-7."""

import struct
from collections.abc import Iterator

from pipeline.structure.base import MOST_PARTS, Ending, OpenFile, past_the_end

#: Boxes that a file may begin with.
_FIRST = frozenset({b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"pnot", b"sidx"})

#: Where a track says how its samples are coded.
_TO_ENTRIES = (b"mdia", b"minf", b"stbl", b"stsd")

#: Names of sample entries of encrypted pictures.
_ENCRYPTED = {b"encv": "Common Encryption", b"drmi": "FairPlay, as sold by iTunes"}


def is_it(head: bytes) -> bool:
    """Whether a file that begins like this is one."""
    return head[4:8] in _FIRST


def ending(file: OpenFile) -> Ending | None:
    """See `structure.Kind`."""
    size, at, indexed = file.size_bytes, 0, False
    for kind, _, end in _boxes(file, 0, size):
        if end > size:
            return past_the_end(f"{kind.decode('latin-1')} box", end, size, in_header=not indexed)
        indexed |= kind == b"moov"
        at = end
    if at < size and size - at >= 8:
        return None  # not cut off, but damaged: no box begins here
    if at < size:
        return Ending(f"it ends at byte {size:,} in the middle of the head of a box", in_header=not indexed)
    if not indexed:
        return Ending("its index (moov) is missing, which cameras and encoders write last", in_header=True)
    return None


def encryption(file: OpenFile, track: int | None) -> str | None:
    """See `structure.Kind`; streams have the numbers of their tracks."""
    size = file.size_bytes
    for kind, start, end in _boxes(file, 0, size):
        if kind == b"moov":
            for trak_start, trak_end in _inside(file, start, min(end, size), (b"trak",)):
                if track is not None and _number(file, trak_start, trak_end) not in (track, None):
                    continue
                for entries_start, entries_end in _inside(file, trak_start, trak_end, _TO_ENTRIES):
                    # Version, flags and count come before the entries.
                    for entry, _, _ in _boxes(file, entries_start + 8, entries_end):
                        if entry in _ENCRYPTED:
                            return _ENCRYPTED[entry]
            return None
    return None


def _number(file: OpenFile, start: int, end: int) -> int | None:
    """A track's own number (ISO/IEC 14496-12, 8.3.2); None where it has none."""
    for inner, _ in _inside(file, start, end, (b"tkhd",)):
        head = file.read_at(inner, 24)
        # Two times come before it, of 8 bytes each in version 1 and of 4 in version 0.
        at = 20 if head[:1] == b"\1" else 12
        return struct.unpack_from(">I", head, at)[0] if len(head) >= at + 4 else None
    return None


def _inside(file: OpenFile, start: int, end: int, path: tuple[bytes, ...]) -> Iterator[tuple[int, int]]:
    """Where the contents of all boxes at `path` begin and end."""
    for kind, inner, stop in _boxes(file, start, end):
        if kind == path[0]:
            if len(path) == 1:
                yield inner, min(stop, end)
            else:
                yield from _inside(file, inner, min(stop, end), path[1:])


def _boxes(file: OpenFile, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, where its contents begin, where it ends) of the boxes from `start` on, up to where none begins. The last
    one may end behind `end`."""
    for _ in range(MOST_PARTS):
        head = file.read_at(start, 16)
        if start + 8 > end or len(head) < 8:
            return
        length, kind = struct.unpack_from(">I4s", head)
        inner = start + 8
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack_from(">Q", head, 8)
            inner += 8
        elif length == 0:
            length = end - start
        if length < inner - start or not all(32 <= byte < 127 or byte == 0xA9 for byte in kind):
            return
        yield kind, inner, start + length
        start += length
