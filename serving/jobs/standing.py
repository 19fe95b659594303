"""How a video stands: what its jobs came to, kept in its row in the transaction that changes them."""

from collections.abc import Iterable

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.statements import execute

#: Analysed for good once it has a report; else as its latest job is.
_SETTLE = text(
    """
    UPDATE video SET status = standing.status, updated_at = now()
    FROM (
        SELECT CASE
            WHEN EXISTS (SELECT FROM report r WHERE r.video_id = :video) THEN 'analyzed'
            WHEN EXISTS (SELECT FROM job j WHERE j.video_id = :video AND j.state IN ('queued', 'running'))
                THEN 'analyzing'
            WHEN (
                SELECT j.state FROM job j WHERE j.video_id = :video AND j.state <> 'canceled'
                ORDER BY j.created_at DESC, j.id DESC LIMIT 1
            ) = 'failed' THEN 'failed'
            ELSE 'uploaded'
        END AS status
    ) standing
    WHERE video.id = :video AND video.tenant_id = :tenant AND video.status <> standing.status
    """
)

#: Of two transactions about one video, the later one has to see what the earlier one did.
_LOCK = text("SELECT FROM video WHERE id = :video AND tenant_id = :tenant FOR NO KEY UPDATE")


async def settle(session: AsyncSession, tenant: str, videos: Iterable[str]) -> None:
    """Have the status of these videos say what became of their jobs: `analyzed` with a report, else `analyzing` while
    one waits or runs, else `failed` where the latest that was not canceled failed, else `uploaded`."""
    # In one order, so that no two who do this wait for each other.
    for video in sorted(set(videos)):
        await execute(session, _LOCK, video=video, tenant=tenant)
        await execute(session, _SETTLE, video=video, tenant=tenant)
