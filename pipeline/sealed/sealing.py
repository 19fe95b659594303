"""Seals what comes in, as it comes: no more than a segment waits."""

from pipeline.sealed.form import Cipher, Header, What, fresh


class Sealer:
    """Makes one sealed blob of bytes that are given to it one after the other."""

    def __init__(self, key: bytes, what: What, header: Header | None = None) -> None:
        """
        Args:
            key: [32] the data key.
            header: None: a fresh one. Tests of the format give one; two blobs never have the same.
        """
        self._header = header or fresh()
        self._cipher = Cipher(key, what, self._header)
        self._waiting = bytearray()
        self._number = 0
        self._begun = False
        self._finished = False

    def feed(self, chunk: bytes) -> bytes:
        """What can be written once these bytes are there, too; often nothing.

        A full segment waits for the byte after it: until that comes, it may be the last.

        Raises:
            ValueError: the blob is finished.
        """
        self._require_going()
        self._waiting += chunk
        size = self._header.plain_bytes
        done = max(0, (len(self._waiting) - 1) // size)
        out = [] if self._begun else [self._header.encoded()]
        self._begun = True
        with memoryview(self._waiting) as waiting:
            for at in range(done):
                out.append(self._cipher.seal(self._number, waiting[at * size : (at + 1) * size], last=False))
                self._number += 1
        del self._waiting[: done * size]
        return b"".join(out)

    def finish(self) -> bytes:
        """The end of the blob; nothing is fed after it. Raises ValueError where it is finished."""
        self._require_going()
        self._finished = True
        head = b"" if self._begun else self._header.encoded()
        self._begun = True
        end = self._cipher.seal(self._number, bytes(self._waiting), last=True)
        self._waiting.clear()
        return head + end

    def _require_going(self) -> None:
        # Another last segment would have the nonce of the first one.
        if self._finished:
            raise ValueError("the blob is finished; seal another one with another Sealer")
