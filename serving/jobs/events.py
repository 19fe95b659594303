"""Events of a job: numbered without gaps in the transaction that makes them true, so that any process can tell them
from any number on."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.statements import execute
from serving.db.work import Event

#: PostgreSQL's channel on which waiting readers are woken. A hint: what it is about is read from the tables.
CHANNEL: Final = "automations_events"

#: As above, for workers without work.
WORK_CHANNEL: Final = "automations_work"

_NUMBERS = text(
    "UPDATE job SET event_number = event_number + :count WHERE tenant_id = :tenant AND id = :job RETURNING event_number"
)
_NOTIFY = text("SELECT pg_notify(:channel, :payload)")


async def append(
    session: AsyncSession, tenant_id: str, job_id: str, events: Sequence[tuple[str, Mapping[str, Any]]]
) -> None:
    """Write (kind, data) pairs down; readers are woken when the transaction is committed. The job's row stays locked
    until then, which is what makes the numbers follow one another."""
    if not events:
        return
    found = await execute(session, _NUMBERS, count=len(events), tenant=tenant_id, job=job_id)
    first = found.one()[0] - len(events) + 1
    for number, (kind, data) in enumerate(events, first):
        session.add(Event(tenant_id=tenant_id, job_id=job_id, number=number, kind=kind, data=dict(data)))
    await notify(session, CHANNEL, f"{tenant_id}/{job_id}")


async def notify(session: AsyncSession, channel: str, payload: str = "") -> None:
    """Wake who listens, once the transaction is committed."""
    await execute(session, _NOTIFY, channel=channel, payload=payload)
