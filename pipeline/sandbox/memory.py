"""Memory that a worker and its keeper share."""

import fcntl
import mmap
import os


def shared_memory(size: int) -> tuple[int, mmap.mmap]:
    """(descriptor, mapping) of fresh shared memory that nobody can make shorter: a worker that did so would have this
    process killed on its next read."""
    descriptor = os.memfd_create("pictures", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return descriptor, mmap.mmap(descriptor, size)
    except BaseException:
        os.close(descriptor)
        raise
