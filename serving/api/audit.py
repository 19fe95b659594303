"""The audit log, as those read it who may."""

from datetime import datetime
from typing import Annotated, Literal, cast

from litestar import get
from litestar.params import Parameter
from sqlmodel import select

from pipeline.record import Record
from serving.api.access import Principal, needs
from serving.api.moments import zoned
from serving.api.page import DEFAULT_LIMIT, MAX_CURSOR, MAX_LIMIT, Order, Page, page_of
from serving.db.audit import AuditEntry
from serving.db.database import Database

Kind = Literal["write", "read", "grant", "key", "refusal"]


class AuditView(Record, frozen=True, kw_only=True):
    """Something that was done, or refused."""

    id: str
    at: datetime
    """When it was noted: of a write, when it was done; of a read or a grant, before it was answered; of refusals, soon
    after the first."""
    kind: Kind
    operation: str
    """Id of the operation that was asked for; of an operator's command, its name; of keys, what was done to them:
    `key.destroy`, for example."""
    actor: str | None
    """Id of the key or user who asked; `command` of an operator; `server` where nobody asked; null where nobody was
    known yet, as when somebody signs in."""
    credential: str | None
    """Id of the key, or of the session in which a person signed in; of an operator, the number of their user of the
    machine: `uid:1000`."""
    address: str | None
    """Where the request came from."""
    request_id: str | None
    """`X-Request-Id` of its answer; of a write, or the first of reads or grants that are alike."""
    write: str | None
    """What was written: `job.submit`, for example. A request may write more than once."""
    targets: tuple[str, ...]
    """Ids of what it was about: first those in the path, then those of what was made or deleted; at most 20. Of a
    grant, also what it is good for, and for how long: `stream`, `900s`."""
    code: str | None
    """The problem that a refusal was answered with."""
    count: int
    """How many refusals, reads, grants or keys that were alike; 1 of a write."""


@get(
    "/v1/audit",
    operation_id="list_audit",
    **needs("audit:read"),
    tags=["audit"],
    summary="Who did what, and who was refused what",
)
async def entries(
    principal: Principal,
    database: Database,
    actor: Annotated[str | None, Parameter(max_length=100, required=False, description="Id of a key or user.")] = None,
    operation: Annotated[
        str | None, Parameter(max_length=100, required=False, description="Id of an operation.")
    ] = None,
    kind: Annotated[Kind | None, Parameter(required=False, description="Only those of this kind.")] = None,
    after: Annotated[datetime | None, Parameter(required=False, description="Noted then or later.")] = None,
    before: Annotated[datetime | None, Parameter(required=False, description="Noted earlier.")] = None,
    limit: Annotated[int, Parameter(ge=1, le=MAX_LIMIT, description="Entries of a page.")] = DEFAULT_LIMIT,
    cursor: Annotated[
        str | None, Parameter(max_length=MAX_CURSOR, required=False, description="`next_cursor` of the page before.")
    ] = None,
) -> Page[AuditView]:
    """Who did what, and who was refused what, latest first. A write is noted with it, or not done at all; a read of
    media, or a signed URL that is made, before it is answered, and those that are alike within ten minutes after it
    together; refusals within about a
    second, alike ones together. What strangers were refused is nobody's, and not here."""
    query = select(AuditEntry).where(AuditEntry.tenant_id == principal.tenant_id)
    if actor is not None:
        query = query.where(AuditEntry.actor == actor)
    if operation is not None:
        query = query.where(AuditEntry.operation == operation)
    if kind is not None:
        query = query.where(AuditEntry.kind == kind)
    if after is not None:
        query = query.where(AuditEntry.at >= zoned(after, "after"))
    if before is not None:
        query = query.where(AuditEntry.at < zoned(before, "before"))
    asked = f"{actor} {operation} {kind} {after} {before}"
    order = Order(column=AuditEntry.at, id=AuditEntry.id, kind=datetime, downwards=True, asked=asked)
    async with database.read(principal.tenant_id) as session:
        found = (await session.exec(order.page(query, limit, cursor))).all()
    return page_of(found, limit, _view, order.place)


def _view(entry: AuditEntry) -> AuditView:
    return AuditView(
        id=entry.id,
        at=entry.at,
        kind=cast(Kind, entry.kind),
        operation=entry.operation,
        actor=entry.actor,
        credential=entry.credential,
        address=entry.address,
        request_id=entry.request_id,
        write=entry.write,
        targets=tuple(entry.targets),
        code=entry.code,
        count=entry.count,
    )
