"""Keeps the C library from hoarding memory for threads."""

import ctypes
import sys

#: M_ARENA_MAX of glibc's malloc.h.
_M_ARENA_MAX = -8


def limit_arenas(count: int = 1) -> bool:
    """Let glibc use at most `count` heaps for all threads; True where that could be set.

    By default every thread gets a heap of its own, up to eight a core, and frames made in one thread and freed in
    another fragment them. An hour of video ended 300 MiB above five minutes without a limit, 160 MiB with two heaps,
    90 MiB with one (`benchmarks/results/memory.json`), at the same CPU time. Elsewhere than on glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_ARENA_MAX, count))
