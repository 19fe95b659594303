"""What happens to a job, as Server-Sent Events (WHATWG HTML, 9.2). They come from the database, so that any process can
go on where another one left off."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get
from litestar.params import Parameter
from litestar.response import Stream
from sqlmodel import col, select

from serving.api.access import Principal, needs
from serving.api.jobs import FINAL, JobId
from serving.db.database import Database
from serving.db.work import Event, Job
from serving.errors import DatabaseUnavailable, InvalidRequest
from serving.jobs import submission
from serving.jobs.events import CHANNEL
from serving.jobs.listening import Listener

#: A comment is sent as often as this while nothing happens, so that nobody in between takes the line for dead; seconds.
KEEP_ALIVE_S: Final = 15.0

#: How often is looked without having been woken, seconds.
POLL_S: Final = 2.0

#: How long a client is to wait before it comes again, milliseconds.
RETRY_MS: Final = 1000

#: Events that are read at once.
_AT_ONCE = 200


@get(
    "/v1/jobs/{job_id:str}/events",
    operation_id="watch_job",
    **needs("jobs:read"),
    tags=["jobs"],
    summary="What happens to a job, as it happens",
    media_type="text/event-stream",
)
async def watch(
    principal: Principal,
    database: Database,
    listener: Listener,
    job_id: JobId,
    last_event_id: Annotated[str | None, Parameter(header="Last-Event-ID", max_length=20, required=False)] = None,
) -> Stream | Response[None]:
    """Server-Sent Events: all that happened to the job so far, or since `Last-Event-ID`, and then what happens. The
    stream ends with the job. `id` counts the job's events from 1, without gaps; `event` is their kind."""
    seen = _number(last_event_id)
    async with database.read(principal.tenant_id) as session:
        job = await submission.find(session, principal.tenant_id, job_id)
    if job.state in FINAL and seen >= job.event_number:
        # What makes an EventSource come no more.
        return Response(None, status_code=204)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    lines = _lines(database, listener, principal.tenant_id, job_id, seen)
    return Stream(lines, media_type="text/event-stream", headers=headers)


def _number(last_event_id: str | None) -> int:
    if not last_event_id:
        return 0
    if not last_event_id.isascii() or not last_event_id.isdigit() or len(last_event_id) > 18:
        raise InvalidRequest("Last-Event-ID is none of ours", (("Last-Event-ID", "has to be the id of an event"),))
    return int(last_event_id)


async def _lines(database: Database, listener: Listener, tenant: str, job_id: str, seen: int) -> AsyncIterator[str]:
    yield f"retry: {RETRY_MS}\n\n"
    loop = asyncio.get_running_loop()
    silent_since = loop.time()
    while True:
        told = asyncio.create_task(listener.wait(CHANNEL, f"{tenant}/{job_id}"))
        try:
            events, over = await _since(database, tenant, job_id, seen)
            for event in events:
                seen = event.number
                yield line(event)
            if events:
                silent_since = loop.time()
            if over and len(events) < _AT_ONCE:
                return
            if not events:
                await asyncio.wait({told}, timeout=POLL_S)
            if loop.time() - silent_since >= KEEP_ALIVE_S:
                silent_since = loop.time()
                yield ": still here\n\n"
        except DatabaseUnavailable:
            # The client comes again by itself, with the id of what it saw last.
            return
        finally:
            told.cancel()


async def _since(database: Database, tenant: str, job_id: str, seen: int) -> tuple[list[Event], bool]:
    """Events after a number, and whether the job was over before they were read."""
    async with database.read(tenant) as session:
        state = (await session.exec(select(Job.state).where(Job.tenant_id == tenant, Job.id == job_id))).one_or_none()
        query = (
            select(Event)
            .where(Event.tenant_id == tenant, Event.job_id == job_id, Event.number > seen)
            .order_by(col(Event.number))
            .limit(_AT_ONCE)
        )
        return list((await session.exec(query)).all()), state is None or state in FINAL


def line(event: Event) -> str:
    """An event as it goes over the line."""
    data: dict[str, Any] = {"at": event.created_at, **event.data}
    return f"id: {event.number}\nevent: {event.kind}\ndata: {msgspec.json.encode(data).decode()}\n\n"
