"""What happens to a job, as Server-Sent Events (WHATWG HTML, 9.2). They come from the database, so that any process can
go on where another one left off."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get
from litestar.params import Parameter
from litestar.response import Stream
from sqlmodel import col, select

from serving.api.access import needs
from serving.api.job_records import FINAL, JobId
from serving.api.streams import Slot, Streams
from serving.auth.credentials import Credentials
from serving.auth.principals import Principal
from serving.db.database import Database
from serving.db.work import Event, Job
from serving.errors import DatabaseUnavailable, InvalidRequest
from serving.jobs import submission
from serving.jobs.following import Following
from serving.settings import Settings

#: How often is looked whether whoever watches still may, seconds.
CHECK_S: Final = 1.0

#: How long a client is to wait before it comes again, milliseconds.
RETRY_MS: Final = 1000

#: Events that are read at once.
_AT_ONCE = 200


@get(
    "/v1/jobs/{job_id:str}/events",
    operation_id="watch_job",
    **needs("jobs:read"),
    by_ticket=True,
    tags=["jobs"],
    summary="What happens to a job, as it happens",
    media_type="text/event-stream",
)
async def watch(
    principal: Principal,
    database: Database,
    following: Following,
    streams: Streams,
    settings: Settings,
    credentials: Credentials,
    job_id: JobId,
    last_event_id: Annotated[
        str | None,
        Parameter(header="Last-Event-ID", max_length=20, schema_extra={"pattern": "^[0-9]{0,18}$"}, required=False),
    ] = None,
    ticket: Annotated[
        str | None,
        Parameter(max_length=2048, required=False, description="Instead of a header, see `create_event_ticket`"),
    ] = None,
) -> Stream | Response[None]:
    """Server-Sent Events: all that happened to the job so far, or since `Last-Event-ID`, and then what happens. The
    stream ends with the job, or about a second after what it was asked for with was revoked. `id` counts the job's
    events from 1, without gaps; `event` is their kind."""
    seen = _number(last_event_id)
    async with database.read(principal.tenant_id) as session:
        job = await submission.find(session, principal.tenant_id, job_id)
    if seen > job.event_number:
        # What they saw was of another job, whose id is used again: that was deleted with its video.
        seen = 0
    if job.state in FINAL and seen >= job.event_number:
        # What makes an EventSource come no more.
        return Response(None, status_code=204)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

    async def allowed() -> bool:
        now = await credentials.current(principal)
        return now is not None and "jobs:read" in now.scopes

    slot = streams.take(principal.tenant_id)
    watched = _Watched(database, following, principal.tenant_id, job_id, allowed, settings.server.keep_alive_s)
    lines = _lines(watched, seen, slot)
    return Stream(lines, media_type="text/event-stream", headers=headers)


def _number(last_event_id: str | None) -> int:
    if not last_event_id:
        return 0
    if not last_event_id.isascii() or not last_event_id.isdigit() or len(last_event_id) > 18:
        raise InvalidRequest("Last-Event-ID is none of ours", (("Last-Event-ID", "has to be the id of an event"),))
    return int(last_event_id)


@dataclass(frozen=True, slots=True)
class _Watched:
    """Whose stream it is, of what."""

    database: Database
    following: Following
    tenant: str
    job_id: str
    allowed: Callable[[], Awaitable[bool]]
    keep_alive_s: float

    async def news(self, seen: int, until: float) -> None:
        """Until there may be something to read, it is that late, or whoever watches may not any more."""
        loop = asyncio.get_running_loop()
        told = asyncio.create_task(self.following.beyond(self.tenant, self.job_id, seen))
        try:
            while (left_s := until - loop.time()) > 0:
                done, _ = await asyncio.wait({told}, timeout=min(CHECK_S, left_s))
                if done or not await self.allowed():
                    return
        finally:
            told.cancel()

    async def since(self, seen: int) -> tuple[list[Event], bool]:
        """Events after a number, and whether the job was over, or another one, before they were read."""
        this = (self.tenant, self.job_id)
        async with self.database.read(self.tenant) as session:
            query = select(Job.state, Job.event_number).where(Job.tenant_id == this[0], Job.id == this[1])
            state, newest = (await session.exec(query)).one_or_none() or (None, 0)
            query = (
                select(Event)
                .where(Event.tenant_id == this[0], Event.job_id == this[1], Event.number > seen)
                .order_by(col(Event.number))
                .limit(_AT_ONCE)
            )
            over = state is None or state in FINAL or newest < seen
            return list((await session.exec(query)).all()), over


async def _lines(watched: _Watched, seen: int, slot: Slot) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    try:
        yield f"retry: {RETRY_MS}\n\n"
        silent_since = loop.time()
        while await watched.allowed():
            events, over = await watched.since(seen)
            for event in events:
                seen = event.number
                yield line(event)
            if events:
                silent_since = loop.time()
            if over and len(events) < _AT_ONCE:
                return
            if not events:
                await watched.news(seen, silent_since + watched.keep_alive_s)
            if loop.time() - silent_since >= watched.keep_alive_s:
                silent_since = loop.time()
                yield ": still here\n\n"
    except DatabaseUnavailable:
        # The client comes again by itself, with the id of what it saw last.
        return
    finally:
        slot.release()


def line(event: Event) -> str:
    """An event as it goes over the line."""
    data: dict[str, Any] = {"at": event.created_at, **event.data}
    return f"id: {event.number}\nevent: {event.kind}\ndata: {msgspec.json.encode(data).decode()}\n\n"
