"""Waits for what happens to jobs: woken by PostgreSQL's notices, and by one look for all in case one was missed."""

import asyncio
import contextlib
from collections import Counter
from typing import Final

from sqlalchemy import text

from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.faults import Faults
from serving.jobs.events import CHANNEL
from serving.jobs.listening import Listener

#: How often is looked, seconds: once for all who wait, however many.
POLL_S: Final = 2.0

#: Of jobs that somebody waits for, those that have events which are not known yet, and those that are gone,
#: or are others under the same id, with fewer events.
_NEWS = text(
    """
    SELECT waited.tenant_id, waited.id
    FROM unnest(cast(:tenants AS text[]), cast(:jobs AS text[]), cast(:seen AS bigint[])) waited (tenant_id, id, seen)
    LEFT JOIN job ON job.tenant_id = waited.tenant_id AND job.id = waited.id
    WHERE job.id IS NULL OR job.event_number <> waited.seen
    """
)


class Following:
    """Who waits for which job. What is heard or found is a hint: whoever is woken reads for themselves."""

    def __init__(self, database: Database, listener: Listener) -> None:
        self._database, self._listener = database, listener
        self._waiting: Counter[tuple[str, str, int]] = Counter()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Following":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def beyond(self, tenant: str, job_id: str, seen: int) -> None:
        """Until there may be an event of this job after that number, or the job may be gone."""
        key = (tenant, job_id, seen)
        self._waiting[key] += 1
        try:
            await self._listener.wait(CHANNEL, f"{tenant}/{job_id}")
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]

    async def _run(self) -> None:
        faults = Faults("news of jobs are looked for")
        while True:
            await asyncio.sleep(POLL_S)
            if self._waiting:
                # Away for a moment: those who wait are woken a little later.
                with faults.borne():
                    await self._look()

    async def _look(self) -> None:
        tenants, jobs, seen = zip(*self._waiting, strict=True)
        async with self._database.read(SYSTEM) as session:
            values = {"tenants": list(tenants), "jobs": list(jobs), "seen": list(seen)}
            news = (await execute(session, _NEWS, **values)).all()
        for row in news:
            self._listener.wake(CHANNEL, f"{row.tenant_id}/{row.id}")
