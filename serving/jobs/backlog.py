"""What waits, and what is being worked on, of all tenants together: read from the database, and bounded.

Whoever shows it (`serving.metrics.backlog`) and whoever decides by it how many workers there are (`serving.graph`) mean
the same by it, for it is read here only.
"""

from typing import TYPE_CHECKING, Final

from pipeline.record import Record

if TYPE_CHECKING:
    from sqlmodel.ext.asyncio.session import AsyncSession

#: What is counted stops here: whoever sees this sees enough.
MOST: Final = 100_000

#: Of so many jobs that ended last is the typical length taken.
_LATEST: Final = 100

_READ: Final = """
WITH queued AS MATERIALIZED (
    SELECT job.tenant_id, feature_key, duration_s,
        greatest(job.created_at, run_after) AS since, run_after <= now() AS due
    FROM (SELECT * FROM job WHERE state = 'queued' ORDER BY run_after LIMIT :most) job JOIN video ON video.id = video_id
), running AS MATERIALIZED (
    SELECT job.tenant_id, feature_key, duration_s
    FROM (SELECT * FROM job WHERE state = 'running' LIMIT :most) job JOIN video ON video.id = video_id
), waiting AS MATERIALIZED (
    -- As `serving.jobs.queue` claims them: of those with the same features one at a time, and the others then find
    -- what it computed.
    SELECT max(duration_s) AS duration_s, min(since) AS since
    FROM queued
    WHERE due AND NOT EXISTS (
        SELECT FROM running WHERE running.tenant_id = queued.tenant_id AND running.feature_key = queued.feature_key
    )
    GROUP BY tenant_id, feature_key
), ended AS MATERIALIZED (
    SELECT video_id FROM job WHERE finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT :latest
), errands AS MATERIALIZED (
    (SELECT FROM webhook_delivery WHERE state = 'pending' AND next_at <= now() LIMIT :most)
    UNION ALL
    (SELECT FROM upload WHERE status = 'waiting' AND method = 'url' AND next_at <= now() LIMIT :most)
)
SELECT *
FROM (
    SELECT count(*) AS queued, coalesce(sum(duration_s), 0) AS queued_video_s,
        -- What is to be tried again later is due later than now.
        greatest(extract(epoch FROM now() - min(since)), 0)::float8 AS queued_oldest_s
    FROM queued
) q, (
    SELECT count(*) AS waiting, coalesce(sum(duration_s), 0) AS waiting_video_s,
        count(*) FILTER (WHERE duration_s IS NULL) AS waiting_unknown,
        greatest(extract(epoch FROM now() - min(since)), 0)::float8 AS oldest_s
    FROM waiting
) w, (
    SELECT count(*) AS running, coalesce(sum(duration_s), 0) AS running_video_s,
        count(*) FILTER (WHERE duration_s IS NULL) AS running_unknown
    FROM running
) r, (
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_s) AS typical_video_s
    FROM ended JOIN video ON video.id = video_id
) t, (
    SELECT count(*) AS errands FROM errands
) e
"""


class Backlog(Record, frozen=True, kw_only=True):
    """What there is to do. Lengths are those of videos, in seconds; a video has one once a job of it succeeded."""

    queued: int = 0
    """Jobs that are queued; those for whose next attempt it is too early, too."""
    queued_video_s: float = 0.0
    """Their lengths together, as far as they are known."""
    queued_oldest_s: float = 0.0
    """For how long the oldest of them has been due."""
    waiting: int = 0
    """Those of them that a worker could begin with now: they are due, and no other one with the same features runs. Of
    several with the same features one counts, for the others find what it computed."""
    waiting_video_s: float = 0.0
    """Their lengths together, as far as they are known."""
    waiting_unknown: int = 0
    """Those of them whose length is not known."""
    oldest_s: float = 0.0
    """For how long the oldest of them has been due."""
    running: int = 0
    """Jobs that a worker has, dead workers' until their leases run out included."""
    running_video_s: float = 0.0
    """Their lengths together, as far as they are known."""
    running_unknown: int = 0
    """Those of them whose length is not known."""
    typical_video_s: float | None = None
    """Median of the known lengths among the jobs that ended last; None where there is none."""
    errands: int = 0
    """What else workers are there for, and is due: deliveries of webhooks, and videos that are to be fetched."""


async def read(session: "AsyncSession", *, most: int = MOST) -> Backlog:
    """As it is now, in a transaction of the server itself (`database.read(SYSTEM)`); others see their tenant's only.

    Args:
        most: what is counted stops here; of what is queued, those that are due first are.

    Raises:
        DatabaseUnavailable: as `Database.read`, in whose block this is.
    """
    # Loaded here: Ray Serve's controller and the command line know what a Backlog is, and read none.
    from sqlalchemy import text

    from serving.db.statements import execute

    row = (await execute(session, text(_READ), most=most, latest=_LATEST)).mappings().one()
    return Backlog(**row)
