"""Leaves out of what Ray prints the lines that say nothing is wrong as if something were."""

import threading
from typing import Final, TextIO

#: Parts of such lines, in Ray 2.60: of each deployment that has a fixed number of replicas; of a start that takes as
#: long as models do, which is told in words of our own; of every controller that ended as it was told to.
NOISE: Final = (
    "Cannot deregister autoscaling state for deployment",
    "that have taken more than 30s to initialize",
    "This may be caused by a slow __init__ or reconfigure method",
    "Task ServeController.graceful_shutdown failed",
)


class Quiet:
    """A text stream before another one. Any thread may write; a line is passed on when it is whole."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begun = threading.local()

    def write(self, text: str) -> int:
        """See `TextIO.write`."""
        *lines, rest = (getattr(self._begun, "text", "") + text).split("\n")
        self._begun.text = rest
        for line in lines:
            if not any(noise in line for noise in NOISE):
                self._stream.write(f"{line}\n")
        return len(text)

    def flush(self) -> None:
        """See `TextIO.flush`."""
        self._stream.flush()

    def isatty(self) -> bool:
        """See `TextIO.isatty`."""
        return False

    def fileno(self) -> int:
        """See `TextIO.fileno`."""
        return self._stream.fileno()
