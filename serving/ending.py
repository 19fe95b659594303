"""How a process ends in time that was told to, whatever hangs in it: a database, a model, a thread."""

import logging
import os
import sys
import threading
from typing import Final, NoReturn

_LOG = logging.getLogger(__name__)

#: How long a worker has for its end, seconds: as long as whoever stops containers waits before they kill.
LIMIT_S: Final = 10.0


def within(limit_s: float = LIMIT_S) -> None:
    """End this process hard, with exit code 0, if it is still there that many seconds from now. What it had is
    somebody's again once its leases are over."""
    timer = threading.Timer(limit_s, _late, (limit_s,))
    timer.daemon = True
    timer.start()


def at_once() -> NoReturn:
    """End this process without waiting for any thread of it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _late(limit_s: float) -> None:
    _LOG.warning(
        "not everything could be ended within %g s of the signal; what was under way is left to others", limit_s
    )
    at_once()
