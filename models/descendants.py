"""A process and all that it started: how much memory they hold together, and their end."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

_LOOK_S: Final = 0.2
"""How often is looked for what it started, seconds: that reads something of each process of the machine."""


class Family:
    """A process that leads a session of its own, and what it started, also what left the session."""

    def __init__(self, pid: int) -> None:
        self._first = psutil.Process(pid)
        self._others: dict[int, psutil.Process] = {}
        self._looked_at = 0.0

    def memory(self) -> int | None:
        """Bytes that they hold and that no file stands behind; None where that is not told, or the first ended."""
        if time.monotonic() - self._looked_at > _LOOK_S:
            self._look()
        own = own_memory(self._first.pid)
        if own is None or not self._others:
            return own
        # What a fork shares with its parent is there once.
        return sum(_share(pid) for pid in (self._first.pid, *self._others))

    def end(self) -> None:
        """End them all; the first is not waited for."""
        # Stopped, it starts no more while the others are counted.
        with suppress(ProcessLookupError, PermissionError):
            os.kill(self._first.pid, signal.SIGSTOP)
        self._look()
        with suppress(ProcessLookupError, PermissionError):
            # It is not reaped before its `wait`: the number is nobody else's.
            os.killpg(self._first.pid, signal.SIGKILL)
        for other in self._others.values():
            with suppress(psutil.Error):
                other.kill()  # only if it is still the same

    def _look(self) -> None:
        for one in (self._first, *self._others.values()):
            with suppress(psutil.Error):
                self._others |= {child.pid: child for child in one.children(recursive=True)}
        self._others = {pid: one for pid, one in self._others.items() if one.is_running()}
        self._looked_at = time.monotonic()


def own_memory(pid: int) -> int | None:
    """Bytes that a process holds which no file stands behind; None where that is not told, or the process ended."""
    return _bytes(Path(f"/proc/{pid}/status"), ("RssAnon:", "RssShmem:"))


def _share(pid: int) -> int:
    """The same, but of what several processes have each its part; 0 where the process ended."""
    share = _bytes(Path(f"/proc/{pid}/smaps_rollup"), ("Pss_Anon:", "Pss_Shmem:"))
    return share if share is not None else own_memory(pid) or 0


def _bytes(file: Path, fields: tuple[str, ...]) -> int | None:
    try:
        lines = file.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    kib = [int(line.split()[1]) for line in lines if line.startswith(fields)]
    return sum(kib) * 1024 if kib else None
