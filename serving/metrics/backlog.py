"""What waits, of all tenants together: read from the database when somebody asks, and bounded."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import text

from serving.audit.linking import OLDEST
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.errors import DatabaseUnavailable
from serving.jobs import backlog
from serving.jobs.backlog import MOST

#: For how long an answer is taken for true, seconds.
FRESH_S: Final = 5.0

#: A worker that was not heard of for this long is none, seconds.
_ALIVE_S: Final = 15

#: What waits besides jobs.
_READ = text(
    """
    WITH pending AS MATERIALIZED (
        SELECT created_at FROM webhook_delivery WHERE state = 'pending' LIMIT :most
    ), waiting AS MATERIALIZED (
        SELECT FROM upload WHERE status = 'waiting' LIMIT :most
    ), ended AS MATERIALIZED (
        SELECT state FROM job WHERE finished_at > now() - interval '1 hour' LIMIT :most
    )
    SELECT
        (SELECT count(*) FILTER (WHERE state = 'succeeded') FROM ended) AS succeeded,
        (SELECT count(*) FILTER (WHERE state = 'failed') FROM ended) AS failed,
        (SELECT count(*) FILTER (WHERE state = 'canceled') FROM ended) AS canceled,
        (SELECT count(*) FROM pending) AS pending,
        (SELECT extract(epoch FROM now() - min(created_at)) FROM pending) AS pending_oldest_s,
        (SELECT count(*) FROM waiting) AS uploads,
        (SELECT count(*) FROM worker WHERE seen_at > now() - make_interval(secs => :alive_s)) AS workers
    """
)


@dataclass(frozen=True, slots=True)
class _Gauges:
    """What is shown of it."""

    up: Gauge
    jobs: Gauge
    ended: Gauge
    queued_video_s: Gauge
    queued_oldest_s: Gauge
    pending: Gauge
    pending_oldest_s: Gauge
    uploads: Gauge
    workers: Gauge
    unlinked_oldest_s: Gauge

    @classmethod
    def made(cls, registry: CollectorRegistry) -> "_Gauges":
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"automations_{name}", text, labels, registry=registry)

        return cls(
            up=gauge("database_up", "Whether the database answered; without it, the gauges below are as they were."),
            jobs=gauge("jobs", f"Jobs that are not over, by state; {MOST} stands for that many or more.", "state"),
            ended=gauge("jobs_ended_last_hour", "Jobs that ended within the last hour, by state.", "state"),
            queued_video_s=gauge("jobs_queued_video_seconds", "Length of the videos of queued jobs, if known."),
            queued_oldest_s=gauge("jobs_queued_oldest_age_seconds", "For how long the oldest queued job has waited."),
            pending=gauge("webhook_deliveries_pending", "Deliveries of webhooks that are to be made."),
            pending_oldest_s=gauge("webhook_deliveries_pending_oldest_age_seconds", "Age of the oldest of them."),
            uploads=gauge("uploads_waiting", "Uploads that wait for bytes."),
            workers=gauge("workers_alive", f"Workers that were heard of in the last {_ALIVE_S} s."),
            unlinked_oldest_s=gauge(
                "audit_unlinked_oldest_age_seconds",
                "For how long the oldest line of the audit log has waited for its place in its chain.",
            ),
        )

    def show(self, jobs: backlog.Backlog, row: Any, unlinked_s: float) -> None:
        """Take over what was read."""
        self.jobs.labels("queued").set(jobs.queued)
        self.jobs.labels("running").set(jobs.running)
        self.queued_video_s.set(jobs.queued_video_s)
        self.queued_oldest_s.set(jobs.queued_oldest_s)
        for state in ("succeeded", "failed", "canceled"):
            self.ended.labels(state).set(getattr(row, state))
        self.pending.set(row.pending)
        self.pending_oldest_s.set(max(0, row.pending_oldest_s or 0))
        self.uploads.set(row.uploads)
        self.workers.set(row.workers)
        self.unlinked_oldest_s.set(max(0.0, unlinked_s))


class Backlog:
    """Keeps gauges of what waits."""

    def __init__(self, database: Database, registry: CollectorRegistry) -> None:
        """`registry`: where the gauges are shown."""
        self._database = database
        self._gauges = _Gauges.made(registry)
        self._read_at = -FRESH_S
        self._reading = asyncio.Lock()

    async def read(self) -> None:
        """Bring them up to date, if they are not. Of many who ask at once, one reads."""
        async with self._reading:
            if time.monotonic() - self._read_at < FRESH_S:
                return
            try:
                async with self._database.read(SYSTEM) as session:
                    jobs = await backlog.read(session)
                    row = (await execute(session, _READ, most=MOST, alive_s=_ALIVE_S)).one()
                    unlinked_s = (await execute(session, OLDEST)).scalar_one_or_none()
            except DatabaseUnavailable:
                # What this process counts is worth telling then more than ever.
                self._gauges.up.set(0)
            else:
                self._gauges.show(jobs, row, unlinked_s or 0.0)
                self._gauges.up.set(1)
            self._read_at = time.monotonic()
