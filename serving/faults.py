"""Loops that go on whatever happens to one of their turns."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from serving.errors import DatabaseUnavailable

_LOG = logging.getLogger(__name__)


class Faults:
    """Those of one loop. A database that is away is none, and is not logged; of others in a row the first one is."""

    def __init__(self, what: str) -> None:
        """`what`: the loop does, for the log."""
        self._what = what
        self._last: type[Exception] | None = None

    @contextmanager
    def borne(self, *besides: type[Exception]) -> Iterator[None]:
        """Whatever goes wrong in the block ends it, and no more. `besides`: is raised nevertheless."""
        try:
            yield
        except besides:
            raise
        except DatabaseUnavailable:
            # It comes back, or whoever looks after it knows.
            pass
        except Exception as fault:  # noqa: BLE001 - a loop that ended would end with it whatever it is there for
            if type(fault) is not self._last:
                self._last = type(fault)
                _LOG.exception("%s: this failed, and is tried again", self._what)
        else:
            self._last = None
