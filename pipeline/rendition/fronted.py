"""MP4 whose index (`moov`) comes first, written in one go to where nothing can be written over.

Who plays a file by ranges reads its beginning; where the index is at the end, or in fragments all over the file, some
browsers cannot go to a moment that they have not loaded. The muxer knows the index when all else is written. So what
it writes goes on as it comes, but for the little before the pictures, and the index: these are what comes before it,
in the end.
"""

import io
import struct
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

#: Of what comes first so much is kept: its header, and how long all that follows is, which the muxer writes over.
_KEPT_BYTES: Final = 1024

#: Boxes within which tables of places are (ISO/IEC 14496-12, 8.7.5).
_WITHIN: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})


class Fronted:
    """A file for FFmpeg's muxer of MP4, which writes it from its beginning to its end, then goes back to write how long
    that was, and puts the index behind it."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        """`write`: takes all that comes behind `head`, piece by piece."""
        self._write = write
        self._kept, self._index = bytearray(), bytearray()
        self._at = self._end = 0
        self._index_at: int | None = None
        """Where the index begins, once the muxer has gone back."""

    def write(self, data: bytes) -> int:
        """See `io.RawIOBase`."""
        data = bytes(data)
        if self._index_at is None:
            room = max(0, _KEPT_BYTES - self._at)
            self._kept += data[:room]
            if len(data) > room:
                self._write(data[room:])
        elif self._at >= self._index_at:
            at = self._at - self._index_at
            self._index[at : at + len(data)] = data
        else:
            assert self._at + len(data) <= len(self._kept), "only the beginning can be written over"
            self._kept[self._at : self._at + len(data)] = data
        self._at += len(data)
        self._end = max(self._end, self._at)
        return len(data)

    def seek(self, to: int, whence: int = io.SEEK_SET) -> int:
        """See `io.RawIOBase`."""
        to += {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._end}[whence]
        if to < self._end and self._index_at is None:
            self._index_at = self._end
        self._at = to
        return to

    def tell(self) -> int:
        """See `io.RawIOBase`."""
        return self._at

    def head(self) -> bytes:
        """What comes before all that was handed on, once the muxer is done: `ftyp`, `moov`, and where `mdat` begins."""
        _, first, _ = next(_boxes(bytes(self._kept)))
        index = bytes(self._index)
        # How long it is does not depend on how far things are moved.
        return first + _moved(index, len(_moved(index, 0))) + self._kept[len(first) :]


def _moved(content: bytes, by: int) -> bytes:
    """Boxes with all places so much further behind, as 64 bits, for they may be beyond what 32 hold then."""
    made = []
    for kind, whole, inner in _boxes(content):
        if kind in _WITHIN:
            made.append(_box(kind, _moved(inner, by)))
        elif kind in (b"stco", b"co64"):
            places = np.frombuffer(inner, ">u4" if kind == b"stco" else ">u8", offset=8).astype(">u8") + by
            made.append(_box(b"co64", inner[:8] + places.astype(">u8").tobytes()))
        else:
            made.append(whole)
    return b"".join(made)


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """(kind, all of it, what is in it) of each."""
    at = 0
    while at < len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        yield kind, content[at : at + size], content[at + 8 : at + size]
        at += size
