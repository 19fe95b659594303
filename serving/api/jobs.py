"""Jobs: asked for, watched, canceled, tried again."""

import asyncio
from datetime import datetime
from types import SimpleNamespace
from typing import Annotated, Any

import msgspec
from litestar import Controller, Response, get, post, put
from litestar.params import Parameter
from sqlmodel import col, select

from pipeline.record import Record
from pipeline.spec import AnalysisSpec
from serving.api.access import Principal, needs
from serving.api.page import DEFAULT_LIMIT, MAX_LIMIT, Page, after, decode_cursor, page_of
from serving.api.prefer import wait_s
from serving.db.database import Database
from serving.db.quick import QuickReads
from serving.db.work import Job
from serving.errors import NotFound
from serving.ids import new_id
from serving.jobs import submission
from serving.jobs.events import CHANNEL
from serving.jobs.listening import Listener
from serving.jobs.submission import JobRequest, Submitted

#: States from which a job goes nowhere by itself.
FINAL = frozenset({"succeeded", "failed", "canceled"})

#: Jobs that may be submitted at once.
MAX_BATCH = 1000

JobId = Annotated[str, Parameter(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Id of a job")]
Prefer = Annotated[str | None, Parameter(header="Prefer", max_length=255, required=False)]


class JobView(Record, frozen=True, kw_only=True):
    """A job, as callers see it."""

    id: str
    video_id: str
    state: str
    """`queued`, `running`, `succeeded`, `failed` or `canceled`."""
    priority: int
    attempt: int
    """How often a worker has begun it."""
    spec: AnalysisSpec
    progress: dict[str, Any]
    """`stage`, `done` and `total` of it, and `remaining_s`, an estimate."""
    error: dict[str, Any] | None
    """Why it failed, or why it waits for another attempt: `code`, `detail`, `retryable`."""
    metrics: dict[str, Any]
    batch_id: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: dict[str, str]


class BatchRequest(Record, frozen=True, kw_only=True):
    """Several jobs at once: all are queued, or none."""

    jobs: Annotated[tuple[JobRequest, ...], msgspec.Meta(min_length=1, max_length=MAX_BATCH)]


class Batch(Record, frozen=True, kw_only=True):
    """What became of jobs that were submitted together."""

    id: str
    counts: dict[str, int]
    """State -> jobs that are in it."""


def view(job: Job | SimpleNamespace) -> JobView:
    """A row as callers see it."""
    return JobView(
        id=job.id,
        video_id=job.video_id,
        state=job.state,
        priority=job.priority,
        attempt=job.attempt,
        spec=msgspec.convert(job.spec, AnalysisSpec),
        progress=job.progress,
        error=job.error,
        metrics=job.metrics,
        batch_id=job.batch_id,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        links={
            "self": f"/v1/jobs/{job.id}",
            "events": f"/v1/jobs/{job.id}/events",
            "video": f"/v1/videos/{job.video_id}",
            "report": f"/v1/videos/{job.video_id}/report",
        },
    )


class Jobs(Controller):
    """`/v1/jobs`"""

    path = "/v1/jobs"
    tags = ("jobs",)

    @post(operation_id="submit_job", **needs("jobs:write"), status_code=202, summary="Queue an analysis")
    async def submit(
        self,
        principal: Principal,
        database: Database,
        listener: Listener,
        data: JobRequest,
        idempotency_key: Annotated[
            str | None, Parameter(header="Idempotency-Key", min_length=1, max_length=255, required=False)
        ] = None,
        prefer: Prefer = None,
    ) -> Response[JobView]:
        """Queue a job. With `Idempotency-Key`, sending it again does not queue another. With `Prefer: wait=N` the
        answer comes when the job has ended, or after N seconds (60 at most)."""
        (made,) = await submission.submit(database, principal.tenant_id, [data], key=idempotency_key)
        return await _answer(principal, database, listener, made, prefer)

    @put(
        "/{job_id:str}",
        operation_id="put_job",
        **needs("jobs:write"),
        status_code=202,
        summary="Queue, under an id",
    )
    async def put(
        self,
        principal: Principal,
        database: Database,
        listener: Listener,
        job_id: JobId,
        data: JobRequest,
        prefer: Prefer = None,
    ) -> Response[JobView]:
        """Queue a job under an id of the caller's own; the same again finds the job that there is."""
        (made,) = await submission.submit(database, principal.tenant_id, [data], job_id=job_id)
        return await _answer(principal, database, listener, made, prefer)

    @post("/batch", operation_id="submit_jobs", **needs("jobs:write"), status_code=202, summary="Queue several")
    async def submit_batch(self, principal: Principal, database: Database, data: BatchRequest) -> Batch:
        """Queue several analyses; all, or none where one of them cannot be."""
        batch_id = new_id("bat")
        await submission.submit(database, principal.tenant_id, data.jobs, batch_id=batch_id)
        return Batch(id=batch_id, counts={"queued": len(data.jobs)})

    @get("/batch/{batch_id:str}", operation_id="get_batch", **needs("jobs:read"), summary="Count the jobs of a batch")
    async def batch(self, principal: Principal, database: Database, batch_id: str) -> Batch:
        """How many jobs of a batch are in which state."""
        return Batch(id=batch_id, counts=await submission.counts(database, principal.tenant_id, batch_id))

    @get("/{job_id:str}", operation_id="get_job", **needs("jobs:read"), summary="A job as it is now")
    async def one(self, principal: Principal, quick: QuickReads, job_id: JobId) -> JobView:
        """A job as it is now."""
        job = await quick.row("tenant_job", principal.tenant_id, job_id)
        if job is None:
            raise NotFound("there is no such job")
        return view(job)

    @get(operation_id="list_jobs", **needs("jobs:read"), summary="Jobs, latest first")
    async def many(
        self,
        principal: Principal,
        database: Database,
        status: Annotated[str | None, Parameter(query="state", max_length=16, required=False)] = None,
        video_id: Annotated[str | None, Parameter(max_length=64, required=False)] = None,
        limit: Annotated[int, Parameter(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
        cursor: Annotated[str | None, Parameter(max_length=512, required=False)] = None,
    ) -> Page[JobView]:
        """Jobs, latest first; of one state or of one video if that is asked for."""
        query = select(Job).where(Job.tenant_id == principal.tenant_id)
        if status is not None:
            query = query.where(Job.state == status)
        if video_id is not None:
            query = query.where(Job.video_id == video_id)
        if cursor is not None:
            query = query.where(after((Job.created_at, Job.id), decode_cursor(cursor, tuple[datetime, str])))
        query = query.order_by(col(Job.created_at).desc(), col(Job.id).desc()).limit(limit + 1)
        async with database.read(principal.tenant_id) as session:
            found = (await session.exec(query)).all()
        return page_of(found, limit, view, lambda job: (job.created_at, job.id))

    @post(
        "/{job_id:str}/cancel",
        operation_id="cancel_job",
        **needs("jobs:write"),
        status_code=202,
        summary="Stop it",
    )
    async def cancel(self, principal: Principal, database: Database, job_id: JobId) -> JobView:
        """Have a job stopped: at once where it waits, within a Clip where it runs. One that is over stays as it is."""
        return view(await submission.cancel(database, principal.tenant_id, job_id))

    @post("/{job_id:str}/retry", operation_id="retry_job", **needs("jobs:write"), status_code=202, summary="Again")
    async def retry(self, principal: Principal, database: Database, job_id: JobId) -> JobView:
        """Queue a job that failed or was canceled once more."""
        return view(await submission.retry(database, principal.tenant_id, job_id))


async def _answer(
    principal: Principal, database: Database, listener: Listener, made: Submitted, prefer: str | None
) -> Response[JobView]:
    """202 and where to look, or 200 with the job that has ended meanwhile."""
    job = made.job
    patience_s = wait_s(prefer)
    headers = {"Location": f"/v1/jobs/{job.id}"}
    if patience_s is not None:
        headers["Preference-Applied"] = f"wait={patience_s:g}"
        job = await _waited(principal.tenant_id, database, listener, job.id, patience_s)
    return Response(view(job), status_code=200 if job.state in FINAL else 202, headers=headers)


async def _waited(tenant: str, database: Database, listener: Listener, job_id: str, patience_s: float) -> Job:
    loop = asyncio.get_running_loop()
    until = loop.time() + patience_s
    while True:
        told = asyncio.create_task(listener.wait(CHANNEL, f"{tenant}/{job_id}"))
        try:
            async with database.read(tenant) as session:
                job = await submission.find(session, tenant, job_id)
            left_s = until - loop.time()
            if job.state in FINAL or left_s <= 0:
                return job
            await asyncio.wait({told}, timeout=min(left_s, 1.0))
        finally:
            told.cancel()
