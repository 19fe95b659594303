"""Sealed files, for who reads videos: what opens one, and its bytes as FFmpeg asks for them."""

import io
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pipeline.sealed.form import What
from pipeline.sealed.reading import Reader


@dataclass(frozen=True, slots=True)
class Seal:
    """What opens one sealed file, and no other; a locked-in process gets it with the file."""

    key: bytes = field(repr=False)
    """[32] The data key."""
    what: What
    sealed_bytes: int
    """Size of the file."""


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A video whose bytes are sealed."""

    path: Path
    key: bytes = field(repr=False)
    """[32] The data key."""
    what: What


def reader_of(descriptor: int, seal: Seal) -> Reader:
    """Reads a sealed file that is open. Raises Altered."""
    return Reader(partial(_pread, descriptor), seal.sealed_bytes, seal.key, seal.what)


class Stream(io.RawIOBase):
    """What is in a sealed file, as a file that is read from where one is."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes; none at the end. Raises Altered."""
        left = max(0, self._reader.size_bytes - self._at)
        found = self._reader.read(self._at, left if size < 0 else min(size, left))
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Where one is then."""
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._reader.size_bytes}[whence]
        if begin + offset < 0:
            raise OSError("before the beginning")
        self._at = begin + offset
        return self._at

    def tell(self) -> int:
        """Where one is."""
        return self._at

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True


def _pread(descriptor: int, offset: int, length: int) -> bytes:
    """So many bytes: one call may give fewer."""
    found = os.pread(descriptor, length, offset)
    while len(found) < length and (more := os.pread(descriptor, length - len(found), offset + len(found))):
        found += more
    return found
