"""Opens any range of a sealed blob. What it gives was proved to be what was sealed; of the rest it gives nothing."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from pipeline.errors import Altered
from pipeline.sealed.form import HEADER_BYTES, TAG_BYTES, Cipher, What, parsed

ReadAt = Callable[[int, int], bytes]
"""(offset, length) -> the bytes there; fewer only where the blob ends."""

#: Opened segments that are kept: whoever parses a file reads a few bytes here, and a few there.
_KEPT: Final = 4

#: Segments that `pieces` opens at once.
_AT_ONCE: Final = 16


class Reader:
    """One sealed blob. May be used from one thread at a time."""

    def __init__(self, read_at: ReadAt, sealed_bytes: int, key: bytes, what: What) -> None:
        """Opens the last segment, which proves how many there are: so nothing was cut off or added.

        Args:
            read_at: reads the sealed blob.
            sealed_bytes: how long that is.
            key: [32] the data key.

        Raises:
            Altered: it is not what was sealed as this.
        """
        if sealed_bytes < HEADER_BYTES + TAG_BYTES:
            raise Altered("it ends in its header")
        self._read_at = read_at
        self._header = parsed(read_at(0, HEADER_BYTES))
        self._cipher = Cipher(key, what, self._header)
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        body = sealed_bytes - HEADER_BYTES
        size = self._header.segment_bytes
        self._last = max(0, -(-body // size) - 1)
        end = body - self._last * size
        # Only an empty blob has a segment with nothing in it: else there would be two blobs of the same bytes.
        if end < TAG_BYTES or (end == TAG_BYTES and self._last):
            raise Altered("it ends within a segment")
        self._sealed_bytes = sealed_bytes
        self.size_bytes = self._last * self._header.plain_bytes + end - TAG_BYTES
        """Of what is in it."""
        self._open(self._last, self._last)

    def read(self, offset: int, length: int) -> bytes:
        """So many bytes from there; fewer where it ends before. Raises Altered."""
        if offset < 0 or length < 0:
            raise ValueError(f"{offset = }, {length = }")
        end = min(offset + length, self.size_bytes)
        if offset >= end:
            return b""
        size = self._header.plain_bytes
        first, last = offset // size, (end - 1) // size
        opened = b"".join(self._open(first, last))
        return opened if len(opened) == end - offset else opened[offset - first * size : end - first * size]

    def pieces(self) -> Iterator[bytes]:
        """All that is in it, from the beginning, some segments at a time. Raises Altered after pieces that are good."""
        step = self._header.plain_bytes * _AT_ONCE
        for offset in range(0, self.size_bytes, step):
            yield self.read(offset, step)

    def _open(self, first: int, last: int) -> list[bytes]:
        """What is in these segments. One read for all of them, unless each was kept."""
        if all(number in self._kept for number in range(first, last + 1)):
            return [self._kept[number] for number in range(first, last + 1)]
        size = self._header.segment_bytes
        start = HEADER_BYTES + first * size
        end = min(HEADER_BYTES + (last + 1) * size, self._sealed_bytes)
        sealed = self._read_at(start, end - start)
        if len(sealed) != end - start:
            raise Altered("it is shorter than it was")
        with memoryview(sealed) as view:
            opened = [
                self._cipher.open(
                    number, view[(number - first) * size : (number - first + 1) * size], last=number == self._last
                )
                for number in range(first, last + 1)
            ]
        for number, plain in zip(range(first, last + 1), opened, strict=True):
            self._keep(number, plain)
        return opened

    def _keep(self, number: int, plain: bytes) -> None:
        self._kept[number] = plain
        self._kept.move_to_end(number)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
