"""Matroska and WebM: elements in elements (RFC 8794, RFC 9559)."""

from collections.abc import Iterator

from pipeline.structure.base import MOST_PARTS, Ending, OpenFile, past_the_end

_HEAD, _SEGMENT, _TRACKS, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1654AE6B, 0x1F43B675
_TRACK, _TRACK_TYPE, _VIDEO = 0xAE, 0x83, 1

#: Where a track says how its frames are encoded beyond their codec, and the kind of that which is encryption.
_TO_ENCODING, _ENCODING_TYPE, _ENCRYPTION = (0x6D80, 0x6240), 0x5033, 1

_NAMES = {_HEAD: "header", _TRACKS: "description of tracks", _CLUSTER: "cluster"}


def is_it(head: bytes) -> bool:
    """Whether a file that begins like this is one."""
    return head.startswith(_HEAD.to_bytes(4, "big"))


def ending(file: OpenFile) -> Ending | None:
    """See `structure.Kind`."""
    size, at, described = file.size_bytes, 0, False
    for number, _, end in _parts(file):
        if end is None:
            return None  # of live recordings, clusters need not say how long they are
        if end > size:
            return past_the_end(_NAMES.get(number, "next part"), end, size, in_header=not described)
        described |= number == _TRACKS
        at = end
    if not described:
        return Ending(f"it ends at byte {size:,}, before its tracks are described", in_header=True)
    segment_end = _segment_end(file)
    if segment_end is not None and segment_end > size >= at:
        return past_the_end("segment", segment_end, size, in_header=False)
    return None


def encryption(file: OpenFile, _: int | None) -> str | None:
    """See `structure.Kind`."""
    for number, start, end in _parts(file):
        if number == _TRACKS and end is not None:
            for track, inner, stop in _elements(file, start, end):
                if track == _TRACK and stop is not None and _is_encrypted(file, inner, stop):
                    return "Matroska content encryption"
            return None
    return None


def _is_encrypted(file: OpenFile, start: int, end: int) -> bool:
    """Whether a track is of pictures, and says that they are encrypted."""
    if _VIDEO not in (_unsigned(file, *place) for place in _inside(file, start, end, (_TRACK_TYPE,))):
        return False
    kinds = _inside(file, start, end, (*_TO_ENCODING, _ENCODING_TYPE))
    return _ENCRYPTION in (_unsigned(file, *place) for place in kinds)


def _parts(file: OpenFile) -> Iterator[tuple[int, int, int | None]]:
    """The header, and what the segment is made of."""
    for number, start, end in _elements(file, 0, file.size_bytes):
        if number == _SEGMENT:
            yield from _elements(file, start, file.size_bytes if end is None else min(end, file.size_bytes))
            return
        yield number, start, end


def _segment_end(file: OpenFile) -> int | None:
    return next((end for number, _, end in _elements(file, 0, file.size_bytes) if number == _SEGMENT), None)


def _inside(file: OpenFile, start: int, end: int, path: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Where the contents of all elements at `path` begin and end."""
    for number, inner, stop in _elements(file, start, end):
        if number == path[0] and stop is not None:
            if len(path) == 1:
                yield inner, min(stop, end)
            else:
                yield from _inside(file, inner, min(stop, end), path[1:])


def _unsigned(file: OpenFile, start: int, end: int) -> int:
    return int.from_bytes(file.read_at(start, min(8, end - start)), "big")


def _elements(file: OpenFile, start: int, end: int) -> Iterator[tuple[int, int, int | None]]:
    """(number, where its contents begin, where it ends or None where it does not say) of the elements from `start` on,
    up to where none begins, or after the first of unknown length. The last one may end behind `end`."""
    for _ in range(MOST_PARTS):
        head = file.read_at(start, 12)[: max(0, end - start)]
        width = _width(head, 4)
        length = _width(head[width:], 8)
        if not width or not length or len(head) < width + length:
            return
        number = int.from_bytes(head[:width], "big")
        value = int.from_bytes(head[width : width + length], "big") & (1 << 7 * length) - 1
        inner = start + width + length
        known = value != (1 << 7 * length) - 1
        yield number, inner, inner + value if known else None
        if not known:
            return
        start = inner + value


def _width(data: bytes, most: int) -> int:
    """Bytes of the number that `data` begins with, by its leading zero bits; 0 where there is none."""
    width = 9 - data[0].bit_length() if data and data[0] else 0
    return width if width <= most else 0
