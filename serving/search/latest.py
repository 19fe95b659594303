"""The latest report of a video, held while something is written that follows from it."""

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.statements import execute

_STILL = text("SELECT job_id FROM report WHERE video_id = :video ORDER BY created_at DESC LIMIT 1")

#: Who ends a job of the video writes its row, and waits for this, or this for them.
_LOCKED = text("SELECT FROM video WHERE id = :video FOR NO KEY UPDATE")


async def is_still_latest(session: AsyncSession, video: str, job: str) -> bool:
    """Whether that of a job still is; it stays so until the end of the transaction."""
    await execute(session, _LOCKED, video=video)
    return (await execute(session, _STILL, video=video)).scalar_one_or_none() == job
