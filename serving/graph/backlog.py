"""The backlog as it was a moment ago, for whoever must not wait for a database: a thread keeps it fresh."""

import asyncio
import threading
import time
import weakref
from collections.abc import Callable
from typing import Final

from pipeline.errors import InvalidSettings
from pipeline.record import Record
from serving.errors import DatabaseMisconfigured, DatabaseUnavailable
from serving.jobs.backlog import Backlog

#: Jobs that are counted at most: with more, there are as many workers as there may be.
_MOST: Final = 10_000

#: How soon the thread notices that nobody wants it any more, seconds.
_LOOK_S: Final = 0.5


class Reading(Record, frozen=True, kw_only=True):
    """What is known."""

    backlog: Backlog | None
    """None where it is not known, or was not for too long."""
    trouble: str | None
    """Why it is not; None where it is."""


def database_url() -> str:
    """Where the database is, by this process's settings.

    Raises:
        InvalidSettings: they cannot be read, or do not say it.
    """
    from serving import settings
    from serving.db.tls import secured

    url = settings.load().settings.server.database_url
    if not url:
        name = settings.variable("server.database_url")
        raise InvalidSettings(f"{name} is not set in the environment of the Ray node on which Serve's controller runs")
    return secured(url)


class BacklogWatch:
    """Reads the backlog every few seconds in a thread of its own, which ends with this object."""

    def __init__(
        self,
        *,
        poll_s: float,
        stale_s: float,
        timeout_s: float = 5.0,
        url: Callable[[], str] = database_url,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            poll_s: seconds between two readings.
            stale_s: age of a reading, seconds, from which on it counts for nothing.
            timeout_s: how long one reading may take, seconds, reaching the database included.
            url: of the database; asked for in the thread, and again for as long as it raises InvalidSettings.
        """
        self._stale_s, self._clock = stale_s, clock
        self._latest = _Latest(clock)
        self._stop = threading.Event()
        # The thread holds nothing of this object, or it would never go: Serve makes a new policy with each deployment.
        arguments = (self._latest, self._stop, url, poll_s, timeout_s)
        threading.Thread(target=_run, args=arguments, name="backlog", daemon=True).start()
        weakref.finalize(self, self._stop.set)

    def latest(self) -> Reading:
        """What was read last. Never waits."""
        backlog, read_at, trouble = self._latest.get()
        if backlog is None:
            return Reading(backlog=None, trouble=trouble or "the backlog was not read yet")
        age_s = self._clock() - read_at
        if age_s > self._stale_s:
            why = trouble or "the database does not answer"
            return Reading(backlog=None, trouble=f"the backlog was last read {age_s:.0f} s ago: {why}")
        return Reading(backlog=backlog, trouble=None)

    def close(self) -> None:
        """End the thread, within a moment."""
        self._stop.set()


class _Latest:
    """What the thread hands over."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._backlog: Backlog | None = None
        self._read_at = 0.0
        self._trouble: str | None = None

    def put(self, backlog: Backlog) -> None:
        with self._lock:
            self._backlog, self._read_at, self._trouble = backlog, self._clock(), None

    def fail(self, trouble: str) -> None:
        with self._lock:
            self._trouble = trouble

    def get(self) -> tuple[Backlog | None, float, str | None]:
        with self._lock:
            return self._backlog, self._read_at, self._trouble


def _run(latest: _Latest, stop: threading.Event, url: Callable[[], str], poll_s: float, timeout_s: float) -> None:
    asyncio.run(_poll(latest, stop, url, poll_s, timeout_s))


async def _poll(
    latest: _Latest, stop: threading.Event, url: Callable[[], str], poll_s: float, timeout_s: float
) -> None:
    # Loaded here, where nobody waits for it.
    from serving.db.database import Database

    database: Database | None = None
    try:
        while not stop.is_set():
            try:
                if database is None:
                    database = Database(url(), pool_size=1)
                async with asyncio.timeout(timeout_s):
                    latest.put(await _read(database))
            except TimeoutError:
                latest.fail(f"the database did not answer within {timeout_s:g} s")
            except (DatabaseUnavailable, DatabaseMisconfigured, InvalidSettings) as error:
                latest.fail(str(error))
            except Exception as error:  # noqa: BLE001 - the thread would end, and nobody would be told why
                latest.fail(f"it cannot be read: {type(error).__name__}: {error}")
            await _pause(stop, poll_s)
    finally:
        if database is not None:
            await database.close()


async def _read(database) -> Backlog:
    from serving.db.database import SYSTEM
    from serving.jobs.backlog import read

    async with database.read(SYSTEM) as session:
        return await read(session, most=_MOST)


async def _pause(stop: threading.Event, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not stop.is_set() and (left := until - time.monotonic()) > 0:
        await asyncio.sleep(min(left, _LOOK_S))
