"""Ends what is left of a session: processes whose parents died before they could end them."""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Final

#: How long the kernel has to end them, seconds; one that waits for a disk or a GPU may take its time.
_KILL_S: Final = 5.0

_LOOK_S: Final = 0.05


def members(session: int) -> tuple[int, ...]:
    """Process ids of all that run in a session."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        # It may have ended meanwhile.
        with contextlib.suppress(OSError):
            # Behind the name, which may hold anything: state, parent, group, session.
            state, _, _, its = (place / "stat").read_bytes().rpartition(b")")[2].split()[:4]
            if int(its) == session and state not in (b"Z", b"X"):
                found.append(int(place.name))
    return tuple(found)


def end_session(session: int) -> None:
    """Kill all that runs in a session, and what that starts meanwhile.

    Args:
        session: id of its first process, which nobody else can have as long as that was not waited for.
    """
    until = time.monotonic() + _KILL_S
    while (left := members(session)) and time.monotonic() < until:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_LOOK_S)
