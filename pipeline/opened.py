"""Files that are open for reading: what is known of one, and its bytes, sealed or not."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pipeline.errors import Altered, InputNotFound, UnsupportedContainer
from pipeline.sealed.files import Seal, SealedFile, reader_of
from pipeline.sealed.reading import Reader


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a file from any other, and from what it was before somebody wrote to it."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int
    """Of its content or of what the file system knows about it; nobody can set this one back."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file that somebody opened for reading, as it was then. Position and closing are the business of whoever
    opened it."""

    descriptor: int
    name: str
    """For people: in messages and in the report."""
    size_bytes: int
    identity: Identity | None = None
    """None in a process that is locked in: whoever handed it the file keeps watch."""
    seal: Seal | None = None
    """What opens it, where it is sealed; its size is that of what is in it."""
    reader: Reader | None = None
    """Of a sealed one."""

    def read_at(self, offset: int, length: int) -> bytes:
        """So many bytes from there; fewer where it ends before. Raises Altered."""
        if self.reader is not None:
            return self.reader.read(offset, length)
        return os.pread(self.descriptor, length, offset)


Video = str | os.PathLike[str] | SealedFile | OpenFile
"""A path, sealed or not, or a file that is open already: all that a process without access to files can be given."""


@contextmanager
def open_file(video: Video) -> Iterator[OpenFile]:
    """Open `video` for reading, if it is a path.

    Raises:
        InputNotFound: there is no such readable file.
        UnsupportedContainer: it is empty.
        Altered: it is not what was sealed.
    """
    if isinstance(video, OpenFile):
        yield video
        return
    path = video.path if isinstance(video, SealedFile) else video
    name = os.fsencode(path).decode("utf-8", "replace")
    try:
        if not os.path.exists(path):
            raise InputNotFound(f"{name}: no such file")
        # Opening a pipe or a device would wait, or do something.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise InputNotFound(f"{name}: not a regular file")
        # By now another may lie there: a pipe is not waited for, and refused below.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise InputNotFound(f"{name}: cannot be read ({getattr(error, 'strerror', error)})") from error
    try:
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode):
            raise InputNotFound(f"{name}: not a regular file")
        os.set_blocking(descriptor, True)
        identity = Identity(seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
        file = OpenFile(descriptor, name, seen.st_size, identity)
        if isinstance(video, SealedFile):
            file = _unsealed(file, Seal(video.key, video.what, seen.st_size))
        if file.size_bytes == 0:
            raise UnsupportedContainer(f"{name}: the file is empty")
        yield file
    finally:
        os.close(descriptor)


def _unsealed(file: OpenFile, seal: Seal) -> OpenFile:
    """The same file, for what is in it. Raises Altered."""
    try:
        reader = reader_of(file.descriptor, seal)
    except Altered as error:
        raise Altered(f"{file.name}: {error}") from error
    return replace(file, size_bytes=reader.size_bytes, seal=seal, reader=reader)
