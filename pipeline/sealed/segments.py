"""Where in a sealed blob the segments are that a range lies in, and what is in them. Reads nothing itself."""

from pipeline.errors import Altered
from pipeline.sealed.form import HEADER_BYTES, MOST_SEGMENTS, TAG_BYTES, Cipher, What, parsed


class Segments:
    """Those of one sealed blob. They change nothing, so any number of threads may use them."""

    def __init__(self, head: bytes, sealed_bytes: int, key: bytes, what: What) -> None:
        """That the blob has this length is proved by nothing but its last segment: open that one before any other.

        Args:
            head: [48] what it begins with.
            sealed_bytes: how long it is.
            key: [32] the data key.

        Raises:
            Altered: no sealed blob begins so, or has this length.
        """
        if sealed_bytes < HEADER_BYTES + TAG_BYTES:
            raise Altered("it ends in its header")
        header = parsed(head)
        self._cipher = Cipher(key, what, header)
        self._size = header.segment_bytes
        self.plain_bytes = header.plain_bytes
        """Of what is in a segment; the last one may have fewer."""
        body = sealed_bytes - HEADER_BYTES
        self.last = max(0, -(-body // self._size) - 1)
        """Number of the last one."""
        if self.last >= MOST_SEGMENTS:
            # Nobody sealed so much; a file may be as long as that without a byte in it.
            raise Altered("it is longer than anything that was sealed")
        end = body - self.last * self._size
        # Only an empty blob has a segment with nothing in it: else there would be two blobs of the same bytes.
        if end < TAG_BYTES or (end == TAG_BYTES and self.last):
            raise Altered("it ends within a segment")
        self._sealed_bytes = sealed_bytes
        self.size_bytes = self.last * self.plain_bytes + end - TAG_BYTES
        """Of what is in all of them."""

    def around(self, start: int, stop: int) -> range:
        """Numbers of those in which the bytes from `start` up to `stop` lie; none for no bytes."""
        stop = min(stop, self.size_bytes)
        return range(start // self.plain_bytes, (stop - 1) // self.plain_bytes + 1) if start < stop else range(0)

    def place(self, numbers: range) -> tuple[int, int]:
        """Where in the blob these are: an offset, and the bytes from there on."""
        start = HEADER_BYTES + numbers.start * self._size
        return start, min(HEADER_BYTES + numbers.stop * self._size, self._sealed_bytes) - start

    def opened(self, numbers: range, sealed: bytes | memoryview) -> list[bytes]:
        """What is in each of these, which were read from their place. Raises Altered, of all of them."""
        if len(sealed) != self.place(numbers)[1]:
            raise Altered("it is shorter than it was")
        with memoryview(sealed) as view:
            return [
                self._cipher.open(number, view[at * self._size : (at + 1) * self._size], last=number == self.last)
                for at, number in enumerate(numbers)
            ]
