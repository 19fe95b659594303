"""Jobs: asked for, watched, canceled, tried again."""

import asyncio
import contextlib
from datetime import datetime
from typing import Annotated, Any

from litestar import Controller, Request, Response, get, post, put
from litestar.params import Parameter
from sqlalchemy import select as columns
from sqlmodel import col

from pipeline.report import Report
from serving.api.access import needs
from serving.api.job_records import COLUMNS, FINAL, JobId, JobSummary, JobView, State, summary, view
from serving.api.moments import zoned
from serving.api.page import DEFAULT_LIMIT, MAX_CURSOR, MAX_LIMIT, Order, Page, page_of
from serving.api.prefer import wait_s
from serving.api.reading import read_quickly
from serving.api.streams import Streams
from serving.auth.principals import Principal
from serving.db.database import Database
from serving.db.statements import execute
from serving.db.work import Job
from serving.errors import NotFound, RateLimited
from serving.jobs import submission
from serving.jobs.following import Following
from serving.jobs.submission import JobRequest
from serving.storage import reports
from serving.storage.store import Store

Prefer = Annotated[str | None, Parameter(header="Prefer", max_length=255, required=False)]


class Jobs(Controller):
    """`/v1/jobs`"""

    path = "/v1/jobs"
    tags = ("jobs",)

    @post(operation_id="submit_job", **needs("jobs:write"), status_code=202, summary="Queue an analysis")
    async def submit(
        self,
        principal: Principal,
        database: Database,
        following: Following,
        streams: Streams,
        data: JobRequest,
        idempotency_key: Annotated[
            str | None, Parameter(header="Idempotency-Key", min_length=1, max_length=255, required=False)
        ] = None,
        prefer: Prefer = None,
    ) -> Response[JobView]:
        """Queue a job. With `Idempotency-Key`, sending it again does not queue another. With `Prefer: wait=N` the
        answer comes when the job has ended, or after N seconds (60 at most)."""
        (made,) = await submission.submit(database, principal.tenant_id, [data], key=idempotency_key)
        return await _answer(principal.tenant_id, database, following, streams, made.job, prefer)

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
        following: Following,
        streams: Streams,
        job_id: JobId,
        data: JobRequest,
        prefer: Prefer = None,
    ) -> Response[JobView]:
        """Queue a job under an id of the caller's own; the same again finds the job that there is."""
        (made,) = await submission.submit(database, principal.tenant_id, [data], job_id=job_id)
        return await _answer(principal.tenant_id, database, following, streams, made.job, prefer)

    @get("/{job_id:str}", operation_id="get_job", **needs("jobs:read"), summary="A job as it is now")
    async def one(self, request: Request[Any, Any, Any], job_id: JobId) -> JobView:
        """A job as it is now."""
        job = await read_quickly(request, "tenant_jobs", job_id)
        if job is None:
            raise NotFound("there is no such job")
        return view(job)

    @get("/{job_id:str}/report", operation_id="get_job_report", **needs("jobs:read"), summary="A job's report")
    async def report(self, principal: Principal, database: Database, store: Store, job_id: JobId) -> Response[Report]:
        """All that this job found, whatever later jobs found in the same video."""
        async with database.read(principal.tenant_id) as session:
            job = await submission.find(session, principal.tenant_id, job_id)
            kept = await reports.of_job(session, store.keyring, principal.tenant_id, job_id)
        if kept is None:
            raise NotFound(f"the job has no report; it is {job.state}")
        return Response(kept.json(), media_type="application/json")  # type: ignore[return-value]

    @get(operation_id="list_jobs", **needs("jobs:read"), summary="Jobs, latest first")
    async def many(
        self,
        principal: Principal,
        database: Database,
        status: Annotated[State | None, Parameter(query="state", required=False)] = None,
        video_id: Annotated[str | None, Parameter(max_length=64, required=False)] = None,
        batch_id: Annotated[str | None, Parameter(max_length=64, required=False)] = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        limit: Annotated[int, Parameter(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
        cursor: Annotated[str | None, Parameter(max_length=MAX_CURSOR, required=False)] = None,
    ) -> Page[JobSummary]:
        """Jobs that meet all that is asked for, latest first. A cursor goes on with the list that it comes from."""
        asked = (status, video_id, batch_id, created_after, created_before)
        order = Order(col(Job.created_at), col(Job.id), datetime, downwards=True, asked=str(asked))
        query = columns(*COLUMNS).where(col(Job.tenant_id) == principal.tenant_id)
        for column, value in ((Job.state, status), (Job.video_id, video_id), (Job.batch_id, batch_id)):
            if value is not None:
                query = query.where(col(column) == value)
        if created_after is not None:
            query = query.where(col(Job.created_at) > zoned(created_after, "created_after"))
        if created_before is not None:
            query = query.where(col(Job.created_at) < zoned(created_before, "created_before"))
        async with database.read(principal.tenant_id) as session:
            found = (await execute(session, order.page(query, limit, cursor))).all()
        return page_of(found, limit, summary, order.place)

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
    tenant: str, database: Database, following: Following, streams: Streams, job: Job, prefer: str | None
) -> Response[JobView]:
    """202 and where to look, or 200 with the job that has ended meanwhile. Who waits counts as a stream; where there
    are as many as may be, the job is queued all the same and nobody is kept waiting."""
    patience_s = wait_s(prefer)
    headers = {"Location": f"/v1/jobs/{job.id}"}
    if patience_s is not None:
        with contextlib.suppress(RateLimited), streams.take(tenant):
            job = await _waited(tenant, database, following, job, patience_s)
            headers["Preference-Applied"] = f"wait={patience_s:g}"
    return Response(view(job), status_code=200 if job.state in FINAL else 202, headers=headers)


async def _waited(tenant: str, database: Database, following: Following, job: Job, patience_s: float) -> Job:
    loop = asyncio.get_running_loop()
    until = loop.time() + patience_s
    while True:
        told = asyncio.create_task(following.beyond(tenant, job.id, job.event_number))
        try:
            async with database.read(tenant) as session:
                now = await submission.find(session, tenant, job.id)
            left_s = until - loop.time()
            if now.state in FINAL or left_s <= 0:
                return now
            if now.event_number == job.event_number:
                await asyncio.wait({told}, timeout=left_s)
            job = now
        finally:
            told.cancel()
