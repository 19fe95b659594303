"""Suits the C library's allocator to pictures: large blocks, made and let go all the time, by several threads."""

import ctypes
import gc
import sys
from collections.abc import Callable
from functools import cache

#: M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of glibc's malloc.h.
_ARENA_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -8, -3, -1

#: Blocks from this size on are mapped one by one, and unmapped when they are let go: the most that glibc allows. A
#: picture of 4K has 25 MB.
_MAPPED_FROM_BYTES = 32 << 20

#: Free memory at the end of the heap that is kept for the next pictures.
_KEPT_BYTES = 256 << 20


@cache
def limit_arenas() -> bool:
    """One heap for all threads; True where that could be set. Elsewhere than on glibc nothing happens.

    By default every thread gets a heap of its own, up to eight a core, and frames made in one thread and freed in
    another fragment them. An hour of video ended 300 MiB above five minutes without a limit, 160 MiB with two heaps, 90
    MiB with one (`benchmarks/results/memory.json`), at the same CPU time.
    """
    return _set((_ARENA_MAX, 1))


@cache
def keep_freed_pictures() -> bool:
    """For a process that decodes: what a picture took is kept for the next one. Returns as `limit_arenas`.

    Otherwise it goes back to the kernel with every picture and comes back page by page, zeroed. Decoding a 1080p video
    for the first time took a fifth less CPU time (144,000 page faults -> 21,000). A process that only handles pictures
    gains nothing by it.
    """
    return _set((_MMAP_THRESHOLD, _MAPPED_FROM_BYTES), (_TRIM_THRESHOLD, _KEPT_BYTES))


def release_freed() -> None:
    """Give pages of the heap that nothing lies in back to the kernel, also those between what is still used. Takes some
    milliseconds. Does nothing elsewhere than on glibc.

    Made and let go in another order each time, arrays of a block of video leave ever more holes: an hour ended 100 MiB
    above five minutes of the same, and 50 MiB with this between blocks.
    """
    trim = _c_function("malloc_trim")
    if trim is not None:
        trim(ctypes.c_size_t(0))


def free_memory() -> None:
    """Give back what no model uses any more: what hangs in cycles, holes of the heap, and what torch keeps of a GPU.
    Takes up to a few hundred milliseconds."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    release_freed()


def _set(*settings: tuple[int, int]) -> bool:
    mallopt = _c_function("mallopt")
    if mallopt is None:
        return False
    taken = [bool(mallopt(name, value)) for name, value in settings]
    return all(taken)


@cache
def _c_function(name: str) -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), name, None)
