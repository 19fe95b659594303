"""Starts a process again when it ends, whoever ended it."""

import signal
import subprocess
import time
from collections.abc import Callable

from serving.graph.launch import REFUSED, STEADY_S, waits


class Kept:
    """A process of ours that runs until all is over."""

    def __init__(self, start: Callable[[], "subprocess.Popen[bytes]"], name: str, *, mended: bool) -> None:
        """
        Args:
            start: starts it.
            name: what it is called where it is told of.
            mended: whether it is started again when it ends, with growing pauses.
        """
        self._start, self._name, self._mended = start, name, mended
        self._pauses, self._due_s, self._first = waits(), 0.0, True
        self._begin()

    def look(self) -> int | None:
        """Start it again, where it has ended and its pause is over; its exit code, where it has ended for good: it is
        not mended, or it was refused when it was started for the first time."""
        code = self.process.poll()
        if code is None:
            return None
        if not self._mended or (code == REFUSED and self._first):
            return code
        now = time.monotonic()
        if not self._due_s:
            lived_s = now - self._began_s
            if lived_s >= STEADY_S:
                self._pauses = waits()
            pause_s = next(self._pauses)
            self._due_s = now + pause_s
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            print(f"{self._name:9} {how} after {lived_s:.0f} s; it is started again in {pause_s:g} s", flush=True)
        elif now >= self._due_s:
            self._due_s, self._first = 0.0, False
            self._begin()
        return None

    def _begin(self) -> None:
        self._began_s = time.monotonic()
        self.process = self._start()
