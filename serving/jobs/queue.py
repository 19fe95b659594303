"""The queue, as workers see it: claim, renew, checkpoint, give back.

Every write after the claim names the fence of the claim (`_HOLD`). A worker that was stopped for longer than its lease
and wakes up finds that its fence is no longer the job's, and writes nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.db.work import Job
from serving.errors import LeaseLost
from serving.jobs import checkpoints, outbox
from serving.jobs.events import WORK_CHANNEL, append, notify
from serving.jobs.lease import MAX_DEATHS, Lease, Problem
from serving.jobs.standing import settle
from serving.storage.keyring import Keyring

#: Tenants that have something to do, those that are least served first.
_TENANTS = text(
    """
    SELECT tenant.id, (SELECT count(*) FROM job r WHERE r.tenant_id = tenant.id AND r.state = 'running') AS running
    FROM tenant
    WHERE EXISTS (
        SELECT FROM job j WHERE j.tenant_id = tenant.id AND j.state = 'queued' AND j.run_after <= now()
    )
    ORDER BY running, random()
    """
)

#: Who claims a tenant's jobs has this until the claim is committed: of two at once, the second one would not see what
#: the first one runs. The first number says what is locked.
_LOCK_AT_ONCE = text("SELECT pg_try_advisory_xact_lock(20100, hashtext(:tenant))")
_LOCK = text("SELECT pg_advisory_xact_lock(20100, hashtext(:tenant))")

#: One job of a tenant that nobody else is about to claim. Of those with the same features one is done first: the others
#: then find them.
_CLAIM = text(
    """
    UPDATE job SET state = 'running', fence = fence + 1, attempt = attempt + 1, worker = :worker, error = NULL,
        lease_until = now() + make_interval(secs => :lease_s), started_at = coalesce(started_at, now())
    WHERE (tenant_id, id) = (
        SELECT j.tenant_id, j.id FROM job j
        WHERE j.tenant_id = :tenant AND j.state = 'queued' AND j.run_after <= now() AND NOT EXISTS (
            SELECT FROM job r
            WHERE r.tenant_id = j.tenant_id AND r.feature_key = j.feature_key AND r.state = 'running'
        )
        ORDER BY j.priority DESC, j.created_at
        LIMIT 1 FOR UPDATE OF j SKIP LOCKED
    )
    RETURNING id, fence, video_id, feature_key, spec, attempt, max_attempts, timeout_s,
        extract(epoch FROM now() - greatest(created_at, run_after))::float AS queued_s
    """
)

#: The job's row, locked, if it is still ours.
_HOLD = text(
    """
    SELECT cancel_requested FROM job
    WHERE tenant_id = :tenant AND id = :job AND fence = :fence AND state = 'running' FOR UPDATE
    """
)

_RENEW = text(
    """
    UPDATE job SET lease_until = now() + make_interval(secs => :lease_s)
    WHERE tenant_id = :tenant AND id = :job AND fence = :fence AND state = 'running' RETURNING cancel_requested
    """
)

_RELEASE = text(
    """
    UPDATE job SET state = 'queued', fence = fence + 1, worker = NULL, lease_until = NULL, attempt = attempt - 1,
        run_after = now() + make_interval(secs => :wait_s * (0.9 + 0.2 * random()))
    WHERE tenant_id = :tenant AND id = :job
    """
)

#: Jobs that nobody has been heard of for longer than the lease. The fence goes up at once, so that whoever wakes up
#: after this finds it changed, even if nobody has claimed the job again.
_REAP = text(
    """
    UPDATE job SET fence = fence + 1, deaths = deaths + 1, worker = NULL, lease_until = NULL, run_after = now(),
        state = CASE WHEN cancel_requested THEN 'canceled' WHEN deaths + 1 >= :most THEN 'failed' ELSE 'queued' END,
        finished_at = CASE WHEN cancel_requested OR deaths + 1 >= :most THEN now() END,
        error = CASE WHEN deaths + 1 >= :most AND NOT cancel_requested THEN cast(:error AS jsonb) END
    WHERE (tenant_id, id) IN (
        SELECT tenant_id, id FROM job WHERE state = 'running' AND lease_until < now() FOR UPDATE SKIP LOCKED
    )
    RETURNING tenant_id, id, video_id, state, deaths, fence
    """
)

_QUARANTINED = Problem(
    code="quarantined",
    detail=f"{MAX_DEATHS} workers died while they had this job; it is not tried again. Retry it once that is mended",
)


class Queue:
    """What a worker does with jobs before it has a result; `serving.jobs.outcomes` is what it does with one."""

    def __init__(self, database: Database, keyring: Keyring, *, lease_s: float = 30.0) -> None:
        self.database = database
        self.keyring = keyring
        """For what is kept of jobs."""
        self.lease_s = lease_s
        """How long a worker may be silent before it counts as dead."""

    async def claim(self, worker: str) -> Lease | None:
        """The next job that is to be done, now this worker's; None where there is none."""
        busy: list[str] = []
        async with self.database.write("job.claim", SYSTEM) as session:
            for tenant_id in (await execute(session, _TENANTS)).scalars().all():
                if not (await execute(session, _LOCK_AT_ONCE, tenant=tenant_id)).scalar_one():
                    busy.append(tenant_id)
                elif (lease := await self._claim_of(session, tenant_id, worker)) is not None:
                    return lease
        # Somebody else was at these. One after the other and nothing else locked: nobody waits for one who waits.
        for tenant_id in busy:
            async with self.database.write("job.claim", SYSTEM) as session:
                await execute(session, _LOCK, tenant=tenant_id)
                if (lease := await self._claim_of(session, tenant_id, worker)) is not None:
                    return lease
        return None

    async def _claim_of(self, session: AsyncSession, tenant_id: str, worker: str) -> Lease | None:
        claimed = await execute(session, _CLAIM, worker=worker, lease_s=self.lease_s, tenant=tenant_id)
        row = claimed.one_or_none()
        if row is None:
            return None
        await append(session, tenant_id, row.id, [("running", {"attempt": row.attempt})])
        return Lease(
            tenant_id=tenant_id,
            job_id=row.id,
            fence=row.fence,
            worker=worker,
            video_id=row.video_id,
            feature_key=row.feature_key,
            spec=row.spec,
            attempt=row.attempt,
            max_attempts=row.max_attempts,
            queued_s=row.queued_s,
            timeout_s=row.timeout_s,
        )

    async def renew(self, lease: Lease) -> bool:
        """Say that the work goes on; True where the caller wants it to stop.

        Raises:
            LeaseLost: the job is no longer this worker's.
        """
        async with self.database.write("job.renew", SYSTEM) as session:
            return _held(await execute(session, _RENEW, **_mine(lease), lease_s=self.lease_s))

    async def progress(
        self, lease: Lease, progress: Mapping[str, Any], candidates: Mapping[str, Any] | None = None
    ) -> None:
        """Tell how far it is, and which key segments there would be by now. Raises as `renew`."""
        async with self.database.write("job.progress", SYSTEM) as session:
            await hold(session, lease)
            job = await session.get_one(Job, (lease.tenant_id, lease.job_id))
            job.progress = dict(progress)
            session.add(job)
            told = (
                [("progress", progress)] if candidates is None else [("progress", progress), ("candidates", candidates)]
            )
            await append(session, lease.tenant_id, lease.job_id, told)

    async def checkpoints(self, lease: Lease) -> dict[str, bytes]:
        """What was done of it before, by whoever: Clip -> its output. What is not what was kept is computed again."""
        async with self.database.read(SYSTEM) as session:
            return await checkpoints.read(session, self.keyring, lease.tenant_id, lease.feature_key)

    async def checkpoint(self, lease: Lease, outputs: Sequence[tuple[str, bytes]]) -> None:
        """Keep what was made of Clips, so that it need not be done again. Raises as `renew`, and as
        `Keyring.values_to_seal`."""
        async with self.database.write("job.checkpoint", SYSTEM) as session:
            await hold(session, lease)
            whose = (lease.tenant_id, lease.video_id, lease.feature_key)
            await checkpoints.keep(session, self.keyring, *whose, outputs)

    async def release(self, lease: Lease, *, reason: str = "released", wait_s: float = 0.0) -> None:
        """Give it back unfinished, for another worker to go on with, at once or after a while; it costs the job no
        attempt. Raises as `renew`."""
        async with self.database.write("job.release", SYSTEM) as session:
            await hold(session, lease)
            await execute(session, _RELEASE, **_mine(lease), wait_s=wait_s)
            await append(session, lease.tenant_id, lease.job_id, [("queued", {"reason": reason})])
            await notify(session, WORK_CHANNEL)

    async def reap(self) -> int:
        """Take jobs away from workers that are silent for longer than their lease; how many there were."""
        error = msgspec.json.encode(_QUARANTINED.told()).decode()
        async with self.database.write("job.reap", SYSTEM) as session:
            rows = (await execute(session, _REAP, most=MAX_DEATHS, error=error)).all()
            for row in rows:
                data: dict[str, Any] = {"reason": "worker_lost", "deaths": row.deaths}
                if row.state == "failed":
                    data = {"error": _QUARANTINED.told()}
                await append(session, row.tenant_id, row.id, [(row.state, data)])
                if row.state != "queued":
                    source = f"{row.id}:{row.state}:{row.fence}"
                    payload = {"job_id": row.id, "video_id": row.video_id, "state": row.state}
                    payload |= {"error": data["error"]} if row.state == "failed" else {}
                    await outbox.tell(session, row.tenant_id, f"job.{row.state}", source, payload)
            for row in sorted(rows, key=lambda row: row.video_id):
                if row.state != "queued":
                    await settle(session, row.tenant_id, [row.video_id])
            if rows:
                await notify(session, WORK_CHANNEL)
        return len(rows)


async def hold(session: AsyncSession, lease: Lease) -> bool:
    """Lock the job for the rest of the transaction; True where it is to be canceled.

    Raises:
        LeaseLost: it is no longer this worker's.
    """
    return _held(await execute(session, _HOLD, **_mine(lease)))


def _held(result: Any) -> bool:
    row = result.one_or_none()
    if row is None:
        raise LeaseLost("the job was given to another worker, or ended, meanwhile")
    return bool(row[0])


def _mine(lease: Lease) -> dict[str, Any]:
    return {"tenant": lease.tenant_id, "job": lease.job_id, "fence": lease.fence}
