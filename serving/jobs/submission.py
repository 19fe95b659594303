"""Jobs, as callers see them: asked for, canceled, tried again. The transactions of a tenant."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import text
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.spec import AnalysisSpec
from serving import idempotency
from serving.db.database import Database
from serving.db.media import Video
from serving.db.statements import execute
from serving.db.work import Job
from serving.errors import Conflict, KeyReused, NotFound
from serving.ids import new_id
from serving.jobs import outbox
from serving.jobs.events import WORK_CHANNEL, append, notify
from serving.jobs.features import feature_key
from serving.jobs.standing import settle
from serving.requests import JobRequest, checked
from serving.vocabularies.resolving import resolved


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
    WHERE tenant_id = :tenant AND id = :job AND state IN ('failed', 'canceled') RETURNING video_id
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
        NotFound: a video or vocabulary is not there.
        KeyReused: the key or id was used for another request.
    """
    for number, request in enumerate(requests):
        checked(request, "" if batch_id is None else f"/jobs/{number}")
    async with database.write("job.submit", tenant) as session:
        if key is not None or job_id is not None:
            (request,) = requests
            name = f"key:{key}" if key is not None else f"id:{job_id}"
            known = await idempotency.known(session, tenant, "submit_job", name, request, target=job_id or "")
            if job_id is not None:
                there = await _under(session, tenant, job_id, request if known is None else None)
                if there is not None:
                    return (Submitted(there, created=False),)
            elif known is not None:
                return (Submitted(await find(session, tenant, known), created=False),)
        jobs = await queue_all(session, tenant, requests, job_id=job_id, batch_id=batch_id)
        if key is not None:
            await idempotency.aim(session, tenant, "submit_job", f"key:{key}", jobs[0].id)
    return tuple(Submitted(job, created=True) for job in jobs)


async def queue_all(
    session: AsyncSession,
    tenant: str,
    requests: Sequence[JobRequest],
    *,
    job_id: str | None = None,
    batch_id: str | None = None,
) -> list[Job]:
    """Put jobs on the queue in the session's transaction, and wake workers. Raises as `queue`."""
    # In one order, so that no two who lock the same videos wait for each other.
    jobs = [
        await queue(session, tenant, request, job_id=job_id, batch_id=batch_id)
        for request in sorted(requests, key=lambda request: request.video_id)
    ]
    await notify(session, WORK_CHANNEL)
    return jobs


async def cancel(database: Database, tenant: str, job_id: str) -> Job:
    """Have it stopped. One that waits is canceled at once, one that runs within a Clip; one that has ended stays as it
    is. Raises NotFound."""
    async with database.write("job.cancel", tenant) as session:
        video = await stop(session, tenant, job_id)
        if video is not None:
            await settle(session, tenant, [video])
        return await find(session, tenant, job_id)


async def stop(session: AsyncSession, tenant: str, job_id: str) -> str | None:
    """Cancel a job that waits, or have one that runs stopped, in the session's transaction. The video of one that was
    canceled by this: `settle` it, once no more jobs are locked."""
    this = {"tenant": tenant, "job": job_id}
    queued = (await execute(session, _CANCEL_QUEUED, **this)).one_or_none()
    if queued is None:
        await execute(session, _CANCEL_RUNNING, **this)
        return None
    await append(session, tenant, job_id, [("canceled", {})])
    payload = {"job_id": job_id, "video_id": queued.video_id, "state": "canceled"}
    await outbox.tell(session, tenant, "job.canceled", f"{job_id}:canceled:{queued.fence}", payload)
    return queued.video_id


async def retry(database: Database, tenant: str, job_id: str) -> Job:
    """Queue one that failed or was canceled again, with all its attempts.

    Raises:
        NotFound: there is none.
        Conflict: it is not over, or it succeeded.
    """
    async with database.write("job.retry", tenant) as session:
        again = (await execute(session, _RETRY, tenant=tenant, job=job_id)).one_or_none()
        if again is None:
            job = await find(session, tenant, job_id)
            raise Conflict(f"the job is {job.state}; only one that failed or was canceled can be tried again")
        await append(session, tenant, job_id, [("queued", {"reason": "retried"})])
        await settle(session, tenant, [again.video_id])
        await notify(session, WORK_CHANNEL)
        return await find(session, tenant, job_id)


async def find(session: AsyncSession, tenant: str, job_id: str) -> Job:
    """A job as it is now. Raises NotFound."""
    query = select(Job).where(Job.tenant_id == tenant, Job.id == job_id).execution_options(populate_existing=True)
    job = (await session.exec(query)).one_or_none()
    if job is None:
        raise NotFound("there is no such job")
    return job


async def queue(
    session: AsyncSession,
    tenant: str,
    request: JobRequest,
    *,
    job_id: str | None = None,
    batch_id: str | None = None,
) -> Job:
    """Put a job on the queue in the session's transaction. Its spec has been checked, and workers are the caller's to
    wake. Raises NotFound."""
    # Locked, so that nobody settles the video without this job.
    wanted = select(Video).where(Video.tenant_id == tenant, Video.id == request.video_id)
    video = (
        await session.exec(wanted.with_for_update(key_share=True).execution_options(populate_existing=True))
    ).one_or_none()
    if video is None:
        raise NotFound(f"there is no video {request.video_id}")
    if video.status != "analyzed":
        video.status = "analyzing"
        session.add(video)
    spec = await resolved(session, tenant, request)
    job = Job(
        tenant_id=tenant,
        id=job_id or new_id("job"),
        video_id=video.id,
        spec=msgspec.to_builtins(spec),
        feature_key=feature_key(video.sha256, spec),
        priority=request.priority,
        timeout_s=request.timeout_s,
        batch_id=batch_id,
    )
    session.add(job)
    await session.flush()
    await append(session, tenant, job.id, [("queued", {"reason": "submitted"})])
    await session.refresh(job)
    return job


async def _under(session: AsyncSession, tenant: str, job_id: str, request: JobRequest | None) -> Job | None:
    """The job that has an id of the caller's choice; None where there is none.

    Args:
        request: what it has to be the job of; None where that is known.

    Raises:
        KeyReused: it is another request's.
    """
    job = (await session.exec(select(Job).where(Job.tenant_id == tenant, Job.id == job_id))).one_or_none()
    if job is not None and request is not None:
        asked = (request.video_id, await resolved(session, tenant, request), request.priority, request.timeout_s)
        if asked != (job.video_id, msgspec.convert(job.spec, AnalysisSpec), job.priority, job.timeout_s):
            raise KeyReused("this id is that of a job that was asked for otherwise; use a new one")
    return job
