"""How much memory a process has together with all that it started, watched from outside.

Counted are pages that are no file's of all of them, each page once, and the first one's pages of files (programs and
libraries, most of which the others have from there, too). Pss of these would depend on who else runs Python just now.
"""

import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

#: Wait between two looks; a look itself takes some milliseconds.
_EVERY_S = 0.04


class Watch:
    """Looks at a process and its descendants until the block ends; a thread of its own, in the process that watches."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._looks = 0
        self._wall_s = 0.0
        self.peak_bytes = 0
        """The most that all had at once."""
        self.processes = 0
        """How many they were then."""
        self.estimated = False
        """Whether one of them could not be looked into, so that its RSS less shared pages was taken."""

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def looks_per_s(self) -> float:
        """How often was looked."""
        return self._looks / max(self._wall_s, 1e-9)

    def _run(self) -> None:
        began_s = time.perf_counter()
        while True:
            with suppress(psutil.NoSuchProcess):
                self._look()
            self._looks += 1
            self._wall_s = time.perf_counter() - began_s
            if self._ended.wait(_EVERY_S):
                return

    def _look(self) -> None:
        sizes: list[int] = []
        for process in (self._root, *self._root.children(recursive=True)):
            # One that is gone, or not quite, has nothing any more.
            with suppress(FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
                sizes.append(self._size_bytes(process))
        if sum(sizes) > self.peak_bytes:
            self.peak_bytes, self.processes = sum(sizes), len(sizes)

    def _size_bytes(self, process: psutil.Process) -> int:
        try:
            own = own_bytes(process.pid)
        except PermissionError:
            # Workers let nobody look into them but root.
            self.estimated = True
            memory = process.memory_info()
            own = memory.rss - memory.shared
        return own + (_kib(process.pid, "status", "RssFile") if process == self._root else 0)


def own_bytes(pid: int) -> int:
    """Memory of a process that is not a file's. What it shares with others is shared out among them (Pss), so that sums
    over a tree are right: nobody outside it has such pages. Raises OSError where it cannot be read."""
    return _kib(pid, "smaps_rollup", "Pss_Anon", "Pss_Shmem")


def _kib(pid: int, file: str, *fields: str) -> int:
    """Sum of some fields, in bytes."""
    lines = (line.partition(":") for line in Path(f"/proc/{pid}/{file}").read_text().splitlines())
    return sum(int(value.split()[0]) * 1024 for name, _, value in lines if name in fields)
