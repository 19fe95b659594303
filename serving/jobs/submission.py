"""Jobs, as callers see them: asked for, canceled, tried again. The transactions of a tenant."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import func, text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.spec import check
from serving.db.database import Database
from serving.db.media import Video
from serving.db.statements import execute
from serving.db.work import IdempotencyKey, Job
from serving.errors import Conflict, KeyReused, NotFound
from serving.ids import new_id
from serving.jobs import outbox
from serving.jobs.events import WORK_CHANNEL, append, notify
from serving.jobs.features import feature_key
from serving.requests import JobRequest


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job, and whether it is new."""

    job: Job
    created: bool


_CANCEL_QUEUED = text(
    """
    UPDATE job SET state = 'canceled', cancel_requested = true, finished_at = now(), fence = fence + 1
    WHERE tenant_id = :tenant AND id = :job AND state = 'queued' RETURNING video_id, fence
    """
)
_CANCEL_RUNNING = text(
    "UPDATE job SET cancel_requested = true WHERE tenant_id = :tenant AND id = :job AND state = 'running'"
)
_RETRY = text(
    """
    UPDATE job SET state = 'queued', attempt = 0, deaths = 0, cancel_requested = false, error = NULL, run_after = now(),
        finished_at = NULL, started_at = NULL, progress = '{}', fence = fence + 1
    WHERE tenant_id = :tenant AND id = :job AND state IN ('failed', 'canceled') RETURNING id
    """
)


async def submit(
    database: Database,
    tenant: str,
    requests: Sequence[JobRequest],
    *,
    job_id: str | None = None,
    key: str | None = None,
    batch_id: str | None = None,
) -> tuple[Submitted, ...]:
    """Put jobs on the queue, all or none.

    Args:
        job_id: the caller's own id, for a single job: a job that has it already is handed back.
        key: the caller's `Idempotency-Key`, for a single job. However often and at once it comes, there is one job.

    Raises:
        InvalidSpec: see `pipeline.spec.check`.
        NotFound: a video is not there.
        KeyReused: the key or id was used for another request.
    """
    for request in requests:
        check(request.spec)
    async with database.write("job.submit", tenant) as session:
        if key is not None or job_id is not None:
            (request,) = requests
            known = await _known(session, tenant, request, job_id=job_id, key=key)
            if known is not None:
                return (Submitted(known, created=False),)
        jobs = [await _queue(session, tenant, request, job_id=job_id, batch_id=batch_id) for request in requests]
        if key is not None:
            await session.flush()
            await _aim(session, tenant, key, jobs[0].id)
        await notify(session, WORK_CHANNEL)
    return tuple(Submitted(job, created=True) for job in jobs)


async def cancel(database: Database, tenant: str, job_id: str) -> Job:
    """Have it stopped. One that waits is canceled at once, one that runs within a Clip; one that has ended stays as it
    is. Raises NotFound."""
    async with database.write("job.cancel", tenant) as session:
        this = {"tenant": tenant, "job": job_id}
        queued = (await execute(session, _CANCEL_QUEUED, **this)).one_or_none()
        if queued is not None:
            await append(session, tenant, job_id, [("canceled", {})])
            payload = {"job_id": job_id, "video_id": queued.video_id, "state": "canceled"}
            await outbox.tell(session, tenant, "job.canceled", f"{job_id}:canceled:{queued.fence}", payload)
        else:
            await execute(session, _CANCEL_RUNNING, **this)
        return await find(session, tenant, job_id)


async def retry(database: Database, tenant: str, job_id: str) -> Job:
    """Queue one that failed or was canceled again, with all its attempts.

    Raises:
        NotFound: there is none.
        Conflict: it is not over, or it succeeded.
    """
    async with database.write("job.retry", tenant) as session:
        again = await execute(session, _RETRY, tenant=tenant, job=job_id)
        if again.one_or_none() is None:
            job = await find(session, tenant, job_id)
            raise Conflict(f"the job is {job.state}; only one that failed or was canceled can be tried again")
        await append(session, tenant, job_id, [("queued", {"reason": "retried"})])
        await notify(session, WORK_CHANNEL)
        return await find(session, tenant, job_id)


async def counts(database: Database, tenant: str, batch_id: str) -> dict[str, int]:
    """State -> jobs of a batch that are in it. Raises NotFound."""
    query = (
        select(Job.state, func.count())
        .where(Job.tenant_id == tenant, Job.batch_id == batch_id)
        .group_by(col(Job.state))
    )
    async with database.read(tenant) as session:
        found = dict((await session.exec(query)).all())
    if not found:
        raise NotFound("there is no such batch")
    return found


async def find(session: AsyncSession, tenant: str, job_id: str) -> Job:
    """A job as it is now. Raises NotFound."""
    query = select(Job).where(Job.tenant_id == tenant, Job.id == job_id).execution_options(populate_existing=True)
    job = (await session.exec(query)).one_or_none()
    if job is None:
        raise NotFound("there is no such job")
    return job


async def _queue(
    session: AsyncSession, tenant: str, request: JobRequest, *, job_id: str | None, batch_id: str | None
) -> Job:
    video = (
        await session.exec(select(Video).where(Video.tenant_id == tenant, Video.id == request.video_id))
    ).one_or_none()
    if video is None:
        raise NotFound(f"there is no video {request.video_id}")
    if video.status != "analyzed":
        video.status = "analyzing"
        session.add(video)
    job = Job(
        tenant_id=tenant,
        id=job_id or new_id("job"),
        video_id=video.id,
        spec=msgspec.to_builtins(request.spec),
        feature_key=feature_key(video.sha256, request.spec),
        priority=request.priority,
        batch_id=batch_id,
    )
    session.add(job)
    await session.flush()
    await append(session, tenant, job.id, [("queued", {"reason": "submitted"})])
    await session.refresh(job)
    return job


async def _known(
    session: AsyncSession, tenant: str, request: JobRequest, *, job_id: str | None, key: str | None
) -> Job | None:
    """The job that this request made before. Of several at once, all but one wait here until that one is committed."""
    digest = hashlib.sha256(msgspec.json.encode(request, order="deterministic")).digest()
    name = f"key:{key}" if key is not None else f"id:{job_id}"
    taken = await execute(
        session,
        insert(IdempotencyKey)
        .values(tenant_id=tenant, operation="submit_job", key=name, digest=digest, target=job_id or "")
        .on_conflict_do_nothing()
        .returning(col(IdempotencyKey.key)),
    )
    if taken.one_or_none() is not None:
        return None
    row = await session.get_one(IdempotencyKey, (tenant, "submit_job", name))
    if row.digest != digest:
        raise KeyReused("this key or id was used for another request; use a new one, or send the same request")
    return await find(session, tenant, row.target)


async def _aim(session: AsyncSession, tenant: str, key: str, job_id: str) -> None:
    row = await session.get_one(IdempotencyKey, (tenant, "submit_job", f"key:{key}"))
    row.target = job_id
    session.add(row)
