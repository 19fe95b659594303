"""Jobs that are asked for together: submitted, counted and canceled as one."""

from typing import Annotated

import msgspec
from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.record import Record
from serving import idempotency
from serving.db.database import Database
from serving.db.work import Job
from serving.errors import NotFound
from serving.ids import new_id
from serving.jobs.standing import settle
from serving.jobs.submission import queue_all, stop
from serving.requests import JobRequest, checked

#: Jobs that may be submitted at once.
MAX_BATCH = 1000


class BatchRequest(Record, frozen=True, kw_only=True):
    """Several jobs at once: all are queued, or none."""

    jobs: Annotated[tuple[JobRequest, ...], msgspec.Meta(min_length=1, max_length=MAX_BATCH)]


class Batch(Record, frozen=True, kw_only=True):
    """What became of jobs that were submitted together."""

    id: str
    counts: dict[str, int]
    """State -> jobs that are in it."""


async def submit(database: Database, tenant: str, request: BatchRequest, *, key: str | None = None) -> Batch:
    """Queue them, all or none. `key`: the caller's `Idempotency-Key`; sent again, it finds the batch that there is.

    Raises:
        InvalidSpec: see `serving.requests.checked`.
        NotFound: a video is not there.
        KeyReused: the key was used for another request.
    """
    for number, job in enumerate(request.jobs):
        checked(job, f"/jobs/{number}")
    async with database.write("job.submit", tenant) as session:
        if key is not None:
            known = await idempotency.known(session, tenant, "submit_jobs", f"key:{key}", request)
            if known is not None:
                return await _counted(session, tenant, known)
        batch_id = new_id("bat")
        await queue_all(session, tenant, request.jobs, batch_id=batch_id)
        if key is not None:
            await idempotency.aim(session, tenant, "submit_jobs", f"key:{key}", batch_id)
    return Batch(id=batch_id, counts={"queued": len(request.jobs)})


async def count(database: Database, tenant: str, batch_id: str) -> Batch:
    """How many of its jobs are in which state. Raises NotFound."""
    async with database.read(tenant) as session:
        return await _counted(session, tenant, batch_id)


async def cancel(database: Database, tenant: str, batch_id: str) -> Batch:
    """Have all of its jobs stopped, as `submission.cancel` does with one. Raises NotFound."""
    # In one order, so that no two who do this wait for each other.
    going = select(Job.id).where(
        Job.tenant_id == tenant, Job.batch_id == batch_id, col(Job.state).in_(("queued", "running"))
    )
    async with database.write("job.cancel", tenant) as session:
        videos = [await stop(session, tenant, job_id) for job_id in (await session.exec(going.order_by(Job.id))).all()]
        await settle(session, tenant, [video for video in videos if video is not None])
        return await _counted(session, tenant, batch_id)


async def _counted(session: AsyncSession, tenant: str, batch_id: str) -> Batch:
    query = (
        select(Job.state, func.count())
        .where(Job.tenant_id == tenant, Job.batch_id == batch_id)
        .group_by(col(Job.state))
    )
    found = dict((await session.exec(query)).all())
    if not found:
        raise NotFound("there is no such batch")
    return Batch(id=batch_id, counts=found)
