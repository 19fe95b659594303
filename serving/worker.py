"""A worker: claims jobs and runs them, several at once, until it is told to stop."""

import asyncio
import logging
from typing import Any

from serving.derived.priming import Primer
from serving.errors import DatabaseUnavailable
from serving.faults import Faults
from serving.ids import new_id
from serving.jobs.events import WORK_CHANNEL
from serving.jobs.lease import Lease
from serving.jobs.listening import Listener
from serving.jobs.running import LAST_S, Tools, run

_LOG = logging.getLogger(__name__)

#: How long an idle worker waits before it looks for work again, seconds. A notice of new work only makes it sooner.
POLL_S = 1.0

#: How often dead workers are looked for, seconds.
REAP_S = 1.0

#: How long a job may go on after the worker was told to stop, seconds; then it is given back.
GRACE_S = 5.0

#: How long what was canceled has to end, seconds; then it is left to its lease.
END_S = 0.5


class Worker:
    """Runs up to `slots` jobs at once."""

    def __init__(
        self, tools: Tools, *, slots: int = 2, listener: Listener | None = None, primer: Primer | None = None
    ) -> None:
        """`primer`: is told of videos that have a new report."""
        self.name = new_id("wrk")
        self._tools = tools
        self._slots = slots
        self._listener = listener
        self._primer = primer
        self.busy = 0
        """Jobs that it runs."""

    async def serve(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then finish or give back what is under way, within ten seconds."""
        halt = asyncio.Event()
        loops = [asyncio.create_task(self._slot(stop, halt)) for _ in range(self._slots)]
        reaper = asyncio.create_task(self._reap())
        try:
            await stop.wait()
            _, unfinished = await asyncio.wait(loops, timeout=GRACE_S)
            halt.set()
            if unfinished:
                await asyncio.wait(unfinished, timeout=2 * LAST_S)
        finally:
            for loop in (reaper, *loops):
                loop.cancel()
            # What waits for a database that hangs is not waited for.
            await asyncio.wait({reaper, *loops}, timeout=END_S)

    async def _slot(self, stop: asyncio.Event, halt: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                lease = await self._tools.queue.claim(self.name)
                if lease is not None:
                    await self._run(lease, halt)
                    continue
            except DatabaseUnavailable:
                # Jobs that were running are somebody's again once their leases have run out.
                pass
            except Exception:  # noqa: BLE001 - see below
                # Whatever it was costs this job its lease; the slot goes on, or all would stand still in the end.
                _LOG.exception("a job ended in a fault of the server")
            await self._wait(stop)

    async def _run(self, lease: Lease, halt: asyncio.Event) -> None:
        self.busy += 1
        try:
            if await run(lease, self._tools, halt) and self._primer is not None:
                self._primer.due(lease.tenant_id, lease.video_id)
        finally:
            self.busy -= 1

    async def _wait(self, stop: asyncio.Event) -> None:
        """Until there may be work, or none is wanted."""
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(stop.wait())]
        if self._listener is not None:
            waits.append(asyncio.create_task(self._listener.wait(WORK_CHANNEL)))
        try:
            await asyncio.wait(waits, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _reap(self) -> None:
        faults = Faults("dead workers are looked for")
        while True:
            with faults.borne():
                await self._tools.queue.reap()
            await asyncio.sleep(REAP_S)
