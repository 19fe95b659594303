"""Runs over a library: begun by whoever changes what its tags are made of, claimed and carried on by workers."""

from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.db.tagging import Tagging
from serving.db.vocabularies import Vocabulary
from serving.errors import LeaseLost, NotFound
from serving.ids import new_id
from serving.jobs.events import notify
from serving.jobs.lease import Problem, backoff_s
from serving.tagging.due import learn_all_again
from serving.tagging.writing import TAGGING_CHANNEL

Reason = Literal["applied", "replaced", "learned", "undone", "space"]

#: How often a run is claimed without coming forward before it counts as failed: it may be what kills its workers.
MAX_ATTEMPTS: Final = 5

_LIVE = "state IN ('queued', 'running')"

_STOP = text(
    f"""
    UPDATE tagging SET state = 'canceled', fence = fence + 1, lease_until = NULL, worker = NULL, finished_at = now()
    WHERE tenant_id = :tenant AND vocabulary_id = :vocabulary AND {_LIVE}
    """
)
_CANCEL = text(
    f"""
    UPDATE tagging SET state = 'canceled', fence = fence + 1, lease_until = NULL, worker = NULL, finished_at = now()
    WHERE tenant_id = :tenant AND id = :id AND {_LIVE}
    """
)

#: The one that waits longest; one whose worker is silent goes on where it was.
_CLAIM = text(
    """
    UPDATE tagging SET state = 'running', fence = fence + 1, attempt = attempt + 1, worker = :worker,
        lease_until = now() + make_interval(secs => :lease_s), started_at = coalesce(started_at, now())
    WHERE id = (
        SELECT id FROM tagging
        WHERE (state = 'queued' AND run_after <= now()) OR (state = 'running' AND lease_until < now())
        ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING id, tenant_id, vocabulary_id, fence, attempt, space, cursor
    """
)
_HOLD = text(
    "SELECT cursor FROM tagging WHERE tenant_id = :tenant AND id = :id AND fence = :fence AND state = 'running' "
    "FOR UPDATE"
)
_BEGIN = text(
    """
    UPDATE tagging SET space = :space, cursor = :cursor, texts = texts + :texts, error = NULL, total = (
        SELECT count(*) FROM video
        WHERE tenant_id = :tenant AND (
            EXISTS (SELECT FROM moment WHERE video_id = video.id AND space = :space)
            OR EXISTS (SELECT FROM correction WHERE video_id = video.id AND origin = :vocabulary)))
    WHERE tenant_id = :tenant AND id = :id
    """
)
_END = text(
    """
    UPDATE tagging SET state = :state, error = cast(:error AS jsonb), worker = NULL, lease_until = NULL,
        finished_at = now()
    WHERE tenant_id = :tenant AND id = :id
    """
)
_BACK = text(
    """
    UPDATE tagging SET state = 'queued', fence = fence + 1, worker = NULL, lease_until = NULL,
        error = cast(:error AS jsonb), attempt = attempt - :spared, run_after = now() + make_interval(secs => :wait_s)
    WHERE tenant_id = :tenant AND id = :id
    """
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that a worker has, as long as its fence is this one."""

    id: str
    tenant_id: str
    vocabulary_id: str
    fence: int
    attempt: int
    space: str | None
    cursor: str

    @property
    def this(self) -> dict[str, Any]:
        """Names it in statements."""
        return {"tenant": self.tenant_id, "id": self.id}


async def begin(session: AsyncSession, tenant: str, vocabulary: str, reason: Reason) -> Tagging:
    """Have a library tagged anew by a vocabulary, in the session's transaction, in place of a run that goes on. Whoever
    calls this has the vocabulary's row locked."""
    await stop(session, tenant, vocabulary)
    row = Tagging(id=new_id("tgg"), tenant_id=tenant, vocabulary_id=vocabulary, reason=reason)
    session.add(row)
    await session.flush()
    await session.refresh(row)
    await notify(session, TAGGING_CHANNEL)
    return row


async def begin_all(session: AsyncSession, tenant: str, reason: Reason = "space") -> None:
    """The same with all vocabularies that stand, and learn for their labels again: for whoever has another space
    answer."""
    query = select(Vocabulary.id).where(Vocabulary.tenant_id == tenant, col(Vocabulary.applied_at).is_not(None))
    for vocabulary in (await session.exec(query.order_by(Vocabulary.id).with_for_update(key_share=True))).all():
        await begin(session, tenant, vocabulary, reason)
    await learn_all_again(session, tenant)


async def stop(session: AsyncSession, tenant: str, vocabulary: str) -> None:
    """End a vocabulary's run, where one goes on; waits for the page that is under way."""
    await execute(session, _STOP, tenant=tenant, vocabulary=vocabulary)


async def cancel(database: Database, tenant: str, run: str) -> Tagging:
    """End a run; what it did stays. One that is over stays as it is. Raises NotFound."""
    async with database.write("tagging.write", tenant) as session:
        await execute(session, _CANCEL, tenant=tenant, id=run)
        return await find(session, tenant, run)


async def find(session: AsyncSession, tenant: str, run: str) -> Tagging:
    """A run as it is now. Raises NotFound."""
    query = select(Tagging).where(Tagging.tenant_id == tenant, Tagging.id == run)
    row = (await session.exec(query.execution_options(populate_existing=True))).one_or_none()
    if row is None:
        raise NotFound("there is no such tagging")
    return row


async def claim(database: Database, worker: str, lease_s: float) -> Claim | None:
    """The next run that is to be carried on, now this worker's; None where there is none, or none that may go on."""
    async with database.write("tagging.claim", SYSTEM) as session:
        row = (await execute(session, _CLAIM, worker=worker, lease_s=lease_s)).one_or_none()
        if row is None:
            return None
        found = Claim(*row)
        if found.attempt > MAX_ATTEMPTS:
            detail = f"{MAX_ATTEMPTS} workers died or failed at one page; apply the vocabulary again when it is mended"
            await _end(session, found, "failed", Problem(code="quarantined", detail=detail))
            return None
        return found


async def hold(session: AsyncSession, run: Claim) -> str:
    """Lock the run for the rest of the transaction; its cursor. Raises LeaseLost: it is no longer this worker's."""
    row = (await execute(session, _HOLD, **run.this, fence=run.fence)).one_or_none()
    if row is None:
        raise LeaseLost("the tagging was given to another worker, or ended, meanwhile")
    return row.cursor


async def begun(database: Database, run: Claim, space: str, texts: int) -> str:
    """Note what it is about to read, and how many texts were asked for; where it goes on. Raises LeaseLost."""
    async with database.write("tagging.page", SYSTEM) as session:
        cursor = await hold(session, run)
        if run.space != space:
            cursor = ""
        await execute(
            session, _BEGIN, **run.this, vocabulary=run.vocabulary_id, space=space, cursor=cursor, texts=texts
        )
        return cursor


async def end(database: Database, run: Claim, problem: Problem | None = None) -> None:
    """It succeeded, or failed. Raises LeaseLost."""
    async with database.write("tagging.page", SYSTEM) as session:
        await hold(session, run)
        await _end(session, run, "succeeded" if problem is None else "failed", problem)


async def succeed(session: AsyncSession, run: Claim) -> None:
    """The same in the transaction of its last page."""
    await _end(session, run, "succeeded", None)


async def give_back(
    database: Database, run: Claim, problem: Problem | None = None, *, wait_s: float | None = None
) -> None:
    """Leave it to whoever is next, now or after a while. Raises LeaseLost.

    Args:
        problem: what went wrong.
        wait_s: it is nobody's fault, and costs no attempt; None: wait the longer, the more often it went wrong.
    """
    spared, wait_s = (0, backoff_s(run.attempt)) if wait_s is None else (1, wait_s)
    async with database.write("tagging.page", SYSTEM) as session:
        await hold(session, run)
        await execute(session, _BACK, **run.this, wait_s=wait_s, spared=spared, error=_told(problem))


async def _end(session: AsyncSession, run: Claim, state: str, problem: Problem | None) -> None:
    await execute(session, _END, **run.this, state=state, error=_told(problem))


def _told(problem: Problem | None) -> str | None:
    return None if problem is None else msgspec.json.encode(problem.told()).decode()
