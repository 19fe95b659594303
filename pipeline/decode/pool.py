"""Memory for decoded pictures that is used again: fresh pages cost as much as the conversion to what they hold."""

import contextlib
import math
import mmap
import threading
import weakref
from collections import deque

import numpy as np

#: Bytes that lie idle at most; two Clips of 1080p.
_IDLE_BYTES = 256 << 20

#: Arrays smaller than this are left to the C library, which has memory for them at hand.
_WORTHWHILE_BYTES = 1 << 20


class Pool:
    """Arrays whose memory comes back when nobody looks at them any more, views included. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[mmap.mmap] = []
        self._returned: deque[mmap.mmap] = deque()
        """Comes in from finalizers, which run anywhere, in the middle of `_take` too, and so may wait for no lock."""

    def array(self, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        """Like `numpy.empty`: what is in it is left from before."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size < _WORTHWHILE_BYTES:
            return np.empty(shape, dtype)
        pages = self._take(size)
        whole = np.frombuffer(pages, np.uint8)
        # Views, and views of views, all hold on to this one.
        weakref.finalize(whole, self._give_back, pages).atexit = False
        return whole[:size].view(dtype).reshape(shape)

    def _take(self, size: int) -> mmap.mmap:
        with self._lock:
            self._tidy()
            # Not much too large either: a long-lived picture would hold on to all of it.
            fitting = [pages for pages in self._idle if size <= len(pages) <= 2 * size]
            if fitting:
                best = min(fitting, key=len)
                self._idle.remove(best)
                return best
        pages = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            # A kernel without huge pages refuses; small ones do as well.
            with contextlib.suppress(OSError):
                pages.madvise(mmap.MADV_HUGEPAGE)
        return pages

    def _give_back(self, pages: mmap.mmap) -> None:
        self._returned.append(pages)
        if self._lock.acquire(blocking=False):
            try:
                self._tidy()
            finally:
                self._lock.release()

    def _tidy(self) -> None:
        while self._returned:
            self._idle.append(self._returned.popleft())
        # The oldest go: the next video may have pictures of another size.
        while sum(map(len, self._idle)) > _IDLE_BYTES:
            self._idle.pop(0)
