"""How a job ends: each in one transaction with its results, its last event and what is told about it."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import delete, text, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.indexing import Index
from pipeline.report import Report
from pipeline.tracks import Track
from serving.copies import keeping
from serving.db.database import SYSTEM, Database
from serving.db.media import Video
from serving.db.statements import execute
from serving.db.work import Checkpoint
from serving.jobs import outbox
from serving.jobs.events import WORK_CHANNEL, append, notify
from serving.jobs.lease import Lease, Problem, backoff_s
from serving.jobs.metrics import Metrics
from serving.jobs.queue import hold
from serving.jobs.standing import settle
from serving.search import writing
from serving.storage import reports
from serving.storage.keyring import Keyring
from serving.tagging.deriving import write_report_tags

_END = text(
    """
    UPDATE job SET state = :state, worker = NULL, lease_until = NULL, finished_at = now(),
        error = cast(:error AS jsonb), metrics = cast(:metrics AS jsonb)
    WHERE tenant_id = :tenant AND id = :job
    """
)

#: With a fifth of jitter, so that what failed together does not come back together.
_AGAIN = text(
    """
    UPDATE job SET state = 'queued', worker = NULL, lease_until = NULL, fence = fence + 1,
        error = cast(:error AS jsonb), run_after = now() + make_interval(secs => :wait_s * (0.9 + 0.2 * random()))
    WHERE tenant_id = :tenant AND id = :job
    """
)


async def succeed(
    database: Database,
    keyring: Keyring,
    lease: Lease,
    report: Report,
    metrics: Metrics,
    index: Index | None = None,
    looks: Track | None = None,
) -> None:
    """Its report is kept, with what it is found by, and everybody told. Copies of it are looked for afterwards.

    Args:
        index: its vectors; None where it has none.
        looks: what it looks like; None where that is known, and stays.

    Raises:
        LeaseLost: the job is no longer this worker's; nothing was written.
        MasterKeyMissing, Altered: see `Keyring.values_to_seal`; likewise.
    """
    body = await asyncio.to_thread(reports.compressed, report)
    async with database.write("job.succeed", SYSTEM) as session:
        await hold(session, lease)
        whose = (lease.tenant_id, lease.job_id, lease.video_id, lease.feature_key)
        await reports.keep(session, keyring, *whose, body)
        await _describe(session, lease, report)
        await write_report_tags(session, lease.tenant_id, lease.video_id, report)
        if index is not None:
            await writing.write_vectors(session, lease.tenant_id, lease.video_id, index)
        space = None if index is None else index.space
        await writing.write_segments_elsewhere(session, lease.tenant_id, lease.video_id, report.segments, space)
        await keeping.write_looks(session, lease.tenant_id, lease.video_id, looks)
        await session.exec(
            delete(Checkpoint).where(
                col(Checkpoint.tenant_id) == lease.tenant_id, col(Checkpoint.feature_key) == lease.feature_key
            )
        )
        found = [("segment", msgspec.to_builtins(segment)) for segment in report.segments]
        counts = {"segments": len(report.segments), "shots": len(report.shots), "tags": len(report.tags)}
        await append(session, lease.tenant_id, lease.job_id, [*found, ("succeeded", counts)])
        await _end(session, lease, "succeeded", None, metrics, counts)


async def fail(database: Database, lease: Lease, problem: Problem) -> bool:
    """It failed; True where it is tried again later. Raises as `succeed`."""
    again = problem.retryable and lease.attempt < lease.max_attempts
    async with database.write("job.fail", SYSTEM) as session:
        if await hold(session, lease):
            again = False
        error = problem.told()
        if again:
            wait_s = backoff_s(lease.attempt)
            told = msgspec.json.encode(error).decode()
            await execute(session, _AGAIN, **_this(lease), wait_s=wait_s, error=told)
            data = {"reason": "failed", "error": error, "wait_s": wait_s}
            await append(session, lease.tenant_id, lease.job_id, [("queued", data)])
            await notify(session, WORK_CHANNEL)
        else:
            await append(session, lease.tenant_id, lease.job_id, [("failed", {"error": error})])
            await _end(session, lease, "failed", error, None, {"error": error})
    return again


async def canceled(database: Database, lease: Lease) -> None:
    """It was stopped because its caller wanted that. Raises as `succeed`."""
    async with database.write("job.canceled", SYSTEM) as session:
        await hold(session, lease)
        await append(session, lease.tenant_id, lease.job_id, [("canceled", {})])
        await _end(session, lease, "canceled", None, None, {})


async def _describe(session: AsyncSession, lease: Lease, report: Report) -> None:
    """What the video's own row says now."""
    info = report.video
    await session.exec(
        update(Video)
        .where(col(Video.id) == lease.video_id)
        .values(
            status="analyzed",
            duration_s=info.duration_s,
            width=info.width,
            height=info.height,
            codec=info.codec,
            container=info.container,
            updated_at=text("now()"),
        )
    )


async def _end(
    session: AsyncSession, lease: Lease, state: str, error: Any, metrics: Metrics | None, told: Mapping[str, Any]
) -> None:
    values = {
        "state": state,
        "error": None if error is None else msgspec.json.encode(error).decode(),
        "metrics": msgspec.json.encode({} if metrics is None else metrics).decode(),
    }
    await execute(session, _END, **_this(lease), **values)
    await settle(session, lease.tenant_id, [lease.video_id])
    payload = {"job_id": lease.job_id, "video_id": lease.video_id, "state": state, **told}
    await outbox.tell(session, lease.tenant_id, f"job.{state}", f"{lease.job_id}:{state}:{lease.fence}", payload)


def _this(lease: Lease) -> dict[str, Any]:
    return {"tenant": lease.tenant_id, "job": lease.job_id}
