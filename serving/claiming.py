"""Works on what is due in the database, several at once, until it is told to stop: deliveries, and videos to fetch."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from serving.faults import Faults
from serving.jobs.listening import Listener

_LOG = logging.getLogger(__name__)

#: How long who is idle waits before it looks again, seconds. A notice only makes it sooner.
POLL_S: Final = 1.0

#: How long work may go on after it was told to stop, seconds; then it is left to the next.
GRACE_S: Final = 5.0

#: How long what was canceled has to be given back, seconds; then it is left to its lease.
LAST_S: Final = 2.0

C = TypeVar("C")
T = TypeVar("T")


class Claims(Protocol[C]):
    """What is due."""

    async def claim(self, most: int, busy: Sequence[str]) -> list[C]:
        """Take on `most` of it at most, and nothing of owners that are `busy`."""
        ...

    def owner(self, claim: C, /) -> str:
        """Whose it is."""
        ...

    async def work(self, claim: C, /) -> None:
        """Do it. What it raises is logged; it is due again once its lease is over."""
        ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much at once."""

    slots: int
    per_owner: int
    """Of one owner, so that one who wants much or is slow leaves slots to others."""


class Claimer(Generic[C]):
    """Takes on what is due, and sees it through."""

    def __init__(self, claims: Claims[C], bounds: Bounds, wake: Callable[[], Awaitable[None]] | None = None) -> None:
        """`wake`: waits for a notice that there may be something to do."""
        self._claims, self._bounds, self._wake = claims, bounds, wake
        self._running: dict[asyncio.Task[None], str] = {}
        self._faults = Faults("what is due is taken on")

    async def serve(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then finish what is under way, or leave it to others after five seconds."""
        try:
            while not stop.is_set():
                if not await self._take_on():
                    await self._wait(stop)
            if self._running:
                await asyncio.wait(self._running, timeout=GRACE_S)
        finally:
            unfinished = list(self._running)
            for task in unfinished:
                task.cancel()
            if unfinished:
                # What waits for a database that hangs is not waited for.
                await asyncio.wait(unfinished, timeout=LAST_S)

    async def _take_on(self) -> bool:
        """Start what is due, as far as there are slots; whether there was any."""
        free = self._bounds.slots - len(self._running)
        if free == 0:
            return False
        counts = Counter(self._running.values())
        busy = [owner for owner, count in counts.items() if count >= self._bounds.per_owner]
        claimed: list[C] = []
        with self._faults.borne():
            claimed = await self._claims.claim(free, busy)
        for claim in claimed:
            task = asyncio.create_task(self._claims.work(claim))
            self._running[task] = self._claims.owner(claim)
            task.add_done_callback(self._ended)
        return bool(claimed)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if not task.cancelled() and (fault := task.exception()) is not None:
            _LOG.error("what came of something that was due could not be written down", exc_info=fault)

    async def _wait(self, stop: asyncio.Event) -> None:
        """Until there may be something to do, or nothing is wanted any more."""
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(stop.wait())]
        if self._wake is not None:
            waits.append(asyncio.ensure_future(self._wake()))  # type: ignore[arg-type]
        try:
            # One that ends makes room, perhaps for the same owner's next.
            await asyncio.wait({*waits, *self._running}, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


async def told(work: Coroutine[Any, Any, T], telling: Coroutine[Any, Any, None]) -> T:
    """What `work` gives, while `telling` says again and again that somebody is at it. What either raises ends both."""
    working, saying = asyncio.create_task(work), asyncio.create_task(telling)
    try:
        await asyncio.wait({working, saying}, return_when=asyncio.FIRST_COMPLETED)
        if saying.done():
            saying.result()
        return working.result()
    finally:
        for task in (working, saying):
            task.cancel()
        await asyncio.gather(working, saying, return_exceptions=True)


def notices(listener: Listener | None, channel: str) -> Callable[[], Awaitable[None]] | None:
    """Waits for a notice on a channel; None where nobody listens."""
    return None if listener is None else lambda: listener.wait(channel)
