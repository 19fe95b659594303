"""Opens any range of a sealed blob. What it gives was proved to be what was sealed; of the rest it gives nothing."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from pipeline.sealed.form import HEADER_BYTES, What
from pipeline.sealed.segments import Segments

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
        self._read_at = read_at
        self._segments = Segments(read_at(0, HEADER_BYTES), sealed_bytes, key, what)
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self.size_bytes = self._segments.size_bytes
        """Of what is in it."""
        last = self._segments.last
        self._open(range(last, last + 1))

    def read(self, offset: int, length: int) -> bytes:
        """So many bytes from there; fewer where it ends before. Raises Altered."""
        if offset < 0 or length < 0:
            raise ValueError(f"{offset = }, {length = }")
        end = min(offset + length, self.size_bytes)
        if offset >= end:
            return b""
        numbers = self._segments.around(offset, end)
        begin = numbers.start * self._segments.plain_bytes
        opened = self._open(numbers)
        if len(opened) == 1:
            return opened[0][offset - begin : end - begin]
        # Joined once: to cut the ends off what was joined would copy all of it again.
        first, *between, last = opened
        stop = end - (numbers.stop - 1) * self._segments.plain_bytes
        return b"".join((memoryview(first)[offset - begin :], *between, memoryview(last)[:stop]))

    def pieces(self) -> Iterator[bytes]:
        """All that is in it, from the beginning, some segments at a time. Raises Altered after pieces that are good."""
        step = self._segments.plain_bytes * _AT_ONCE
        for offset in range(0, self.size_bytes, step):
            yield self.read(offset, step)

    def _open(self, numbers: range) -> list[bytes]:
        """What is in these segments. One read for all of them, but those at both ends that were kept: whoever reads on
        from the middle of a segment has it already."""
        start, stop = numbers.start, numbers.stop
        before, after = [], []
        while start < stop and start in self._kept:
            before.append(self._kept[start])
            start += 1
        while start < stop and stop - 1 in self._kept:
            stop -= 1
            after.append(self._kept[stop])
        opened: list[bytes] = []
        if start < stop:
            left = range(start, stop)
            opened = self._segments.opened(left, self._read_at(*self._segments.place(left)))
            for number, plain in zip(left, opened, strict=True):
                self._keep(number, plain)
        return [*before, *opened, *reversed(after)]

    def _keep(self, number: int, plain: bytes) -> None:
        self._kept[number] = plain
        self._kept.move_to_end(number)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
