"""ASF (WMV): objects (Advanced Systems Format specification, 01.20.03)."""

import struct
from collections.abc import Iterator
from uuid import UUID

from pipeline.structure.base import MOST_PARTS, Ending, OpenFile, past_the_end

_HEADER = UUID("75b22630-668e-11cf-a6d9-00aa0062ce6c").bytes_le
_DATA = UUID("75b22636-668e-11cf-a6d9-00aa0062ce6c").bytes_le

#: Objects of the header that say how the content is protected.
_PROTECTIONS = frozenset(
    {
        UUID("2211b3fb-bd23-11d2-b4b7-00a0c955fc6e").bytes_le,  # Content Encryption
        UUID("298ae614-2622-4c17-b935-dae07ee9289c").bytes_le,  # Extended Content Encryption
    }
)

#: Bytes of an object before its contents; the header's own contents begin with a count and two reserved bytes.
_OBJECT, _COUNT = 24, 6


def is_it(head: bytes) -> bool:
    """Whether a file that begins like this is one."""
    return head.startswith(_HEADER)


def ending(file: OpenFile) -> Ending | None:
    """See `structure.Kind`."""
    size, described = file.size_bytes, False
    for kind, _, end in _objects(file, 0, size):
        if end > size:
            name = {_HEADER: "header", _DATA: "data"}.get(kind, "next part")
            return past_the_end(name, end, size, in_header=not described)
        described |= kind == _HEADER
    return None if described else Ending(f"it ends at byte {size:,}, in its header", in_header=True)


def encryption(file: OpenFile, _: int | None) -> str | None:
    """See `structure.Kind`."""
    for kind, start, end in _objects(file, 0, file.size_bytes):
        if kind == _HEADER:
            inside = _objects(file, start + _COUNT, end)
            return "Windows Media DRM" if any(part in _PROTECTIONS for part, _, _ in inside) else None
    return None


def _objects(file: OpenFile, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, where its contents begin, where it ends) of the objects from `start` on, up to where none begins. The last
    one may end behind `end`."""
    for _ in range(MOST_PARTS):
        head = file.read_at(start, _OBJECT)
        if start + _OBJECT > end or len(head) < _OBJECT:
            return
        (length,) = struct.unpack_from("<Q", head, 16)
        if length < _OBJECT:
            return
        yield head[:16], start + _OBJECT, start + length
        start += length
