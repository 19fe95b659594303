"""Keeps the C library from hoarding memory for threads."""

import ctypes
import sys

#: M_ARENA_MAX of glibc's malloc.h.
_M_ARENA_MAX = -8


def limit_arenas(count: int = 2) -> bool:
    """Let glibc use at most `count` heaps for all threads; True where that could be set.

    By default every thread gets a heap of its own, up to eight a core, and frames made in one thread and freed in
    another fragment them: without a limit an hour of video ended 300 MiB above five minutes, reached in its first
    twenty minutes; `benchmarks/results/memory.json` has the figures with it. Elsewhere than on glibc this does nothing.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_ARENA_MAX, count))
