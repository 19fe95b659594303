"""Suits the C library's allocator to pictures: large blocks, made and let go all the time, by several threads."""

import ctypes
import sys
from functools import cache

#: M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of glibc's malloc.h.
_ARENA_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -8, -3, -1

#: Blocks from this size on are mapped one by one, and unmapped when they are let go: the most that glibc allows. A
#: picture of 4K has 25 MB.
_MAPPED_FROM_BYTES = 32 << 20

#: Free memory at the end of the heap that is kept for the next pictures.
_KEPT_BYTES = 256 << 20


@cache
def suit_to_pictures() -> bool:
    """Set it up for this process; True where that could be done. Elsewhere than on glibc nothing happens.

    One heap for all threads: by default every thread gets one of its own, up to eight a core, and frames made in one
    thread and freed in another fragment them. An hour of video ended 300 MiB above five minutes without a limit, 160
    MiB with two heaps, 90 MiB with one (`benchmarks/results/memory.json`), at the same CPU time.

    Freed memory is kept: otherwise it goes back to the kernel with every picture and comes back page by page, zeroed.
    Decoding a 1080p video for the first time took a fifth less CPU time (144,000 page faults -> 21,000).
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, _MAPPED_FROM_BYTES), (_TRIM_THRESHOLD, _KEPT_BYTES))
    taken = [bool(mallopt(name, value)) for name, value in settings]
    return all(taken)
