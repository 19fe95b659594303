"""Tickets for browsers: an EventSource can send no headers, and a key has no business in a URL."""

from datetime import datetime
from urllib.parse import urlencode

from litestar import post

from pipeline.record import Record
from serving.api.access import needs
from serving.api.jobs import JobId
from serving.audit.reads import Reads
from serving.auth.principals import Principal
from serving.auth.tokens import Ticket, Tokens
from serving.db.database import Database
from serving.jobs import submission
from serving.settings import Settings


class TicketView(Record, frozen=True, kw_only=True):
    """What a browser watches a job with."""

    ticket: str
    url: str
    """The job's events with this ticket, relative to the server: what an EventSource is given."""
    expires_at: datetime
    """Until then, a stream may be opened with it, as often as it breaks. One that is open goes on."""


@post(
    "/v1/jobs/{job_id:str}/events/ticket",
    operation_id="create_event_ticket",
    **needs("jobs:read"),
    tags=["jobs"],
    summary="Watch a job from a browser",
)
async def create_event_ticket(
    principal: Principal, database: Database, tokens: Tokens, reads: Reads, settings: Settings, job_id: JobId
) -> TicketView:
    """A ticket that is good for the events of this job and nothing else, for some minutes, and no longer than the key
    or session that it was asked for with."""
    async with database.read(principal.tenant_id) as session:
        await submission.find(session, principal.tenant_id, job_id)
    await reads.granted((job_id,), ("events",), settings.auth.ticket_s)
    told = Ticket(tenant_id=principal.tenant_id, job_id=job_id, credential=principal.credential)
    ticket, expires_at = tokens.ticket(told)
    return TicketView(
        ticket=ticket, url=f"/v1/jobs/{job_id}/events?{urlencode({'ticket': ticket})}", expires_at=expires_at
    )
