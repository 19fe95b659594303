"""How many minutes of video a tenant may keep. A video's length is known once a job has looked at it, and counts from
then on: so more than is allowed is found out by the job, which fails before it decodes anything, and at the door
afterwards.

What is kept is added up anew each time, as in `quota`.
"""

from typing import Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.statements import execute
from serving.errors import NotFound, QuotaExceeded

#: Of transactions that count minutes of one tenant, one goes on at a time.
_ALONE: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('minutes ' || :tenant, 0))")

_ALLOWED: Final = text("SELECT coalesce(quota_minutes, :otherwise) FROM tenant WHERE id = :tenant")

_USED: Final = text("SELECT coalesce(sum(duration_s), 0) FROM video WHERE tenant_id = :tenant")

#: Whether it was analysed before, and counted as so long: then it is there already, whatever was allowed meanwhile. Of
#: one that came with an archive, somebody else said how long it is. Versions may measure otherwise by a frame or two.
_MEASURE: Final = text(
    """
    UPDATE video v SET duration_s = :duration_s
    FROM (SELECT id, duration_s FROM video WHERE tenant_id = :tenant AND id = :video FOR UPDATE) was
    WHERE v.tenant_id = :tenant AND v.id = was.id
    RETURNING was.duration_s >= :duration_s - 1
        AND EXISTS (SELECT FROM report r WHERE r.tenant_id = v.tenant_id AND r.video_id = v.id) AS counted
    """
)

_SET: Final = text("UPDATE tenant SET quota_minutes = :minutes WHERE id = :tenant RETURNING id")


async def require_room(session: AsyncSession, tenant: str, default_minutes: int) -> None:
    """Nothing where the tenant may keep any more video. Asked before an upload begins.

    Args:
        default_minutes: what the setting `upload.tenant_max_minutes` says.

    Raises:
        QuotaExceeded: what is kept already is as much as is allowed.
    """
    allowed = await allowed_minutes(session, tenant, default_minutes)
    if allowed is not None and (used_s := await used_seconds(session, tenant)) >= allowed * 60:
        raise QuotaExceeded(f"there is no room for any more video: {used_s / 60:.1f} of {allowed} minutes are used")


async def measured(
    session: AsyncSession, tenant: str, video_id: str, duration_s: float, default_minutes: int
) -> QuotaExceeded | None:
    """Write down how long a video is, which counts from now on; why it may not be analysed, if it may not. That is for
    the caller to raise, once what was written is committed."""
    await execute(session, _ALONE, tenant=tenant)
    row = (await execute(session, _MEASURE, tenant=tenant, video=video_id, duration_s=duration_s)).one_or_none()
    if row is None or row.counted:
        return None
    return await _too_much(session, tenant, duration_s, default_minutes)


async def require_fitting(session: AsyncSession, tenant: str, duration_s: float, default_minutes: int) -> None:
    """Nothing where a video, whose length the session has written down already, is not more than is allowed. The answer
    holds until the session's transaction is over. Raises QuotaExceeded."""
    await execute(session, _ALONE, tenant=tenant)
    refused = await _too_much(session, tenant, duration_s, default_minutes)
    if refused is not None:
        raise refused


async def _too_much(
    session: AsyncSession, tenant: str, duration_s: float, default_minutes: int
) -> QuotaExceeded | None:
    allowed = await allowed_minutes(session, tenant, default_minutes)
    if allowed is None or (used_s := await used_seconds(session, tenant)) <= allowed * 60:
        return None
    return QuotaExceeded(
        f"the video is {duration_s / 60:.1f} minutes long; with it, {used_s / 60:.1f} of {allowed} minutes are used"
    )


async def used_seconds(session: AsyncSession, tenant: str) -> float:
    """Of all videos whose length is known."""
    return (await execute(session, _USED, tenant=tenant)).scalar_one()


async def allowed_minutes(session: AsyncSession, tenant: str, default_minutes: int) -> int | None:
    """None: as much as there is room for. Raises NotFound."""
    found = (await execute(session, _ALLOWED, tenant=tenant, otherwise=default_minutes)).scalar_one_or_none()
    if found is None:
        raise NotFound("there is no such tenant")
    return found or None


async def set_quota(session: AsyncSession, tenant: str, minutes: int | None) -> None:
    """Say how many minutes a tenant may keep. What it keeps beyond that stays. None: what the setting says; 0: as many
    as there is room for. Raises NotFound."""
    if (await execute(session, _SET, tenant=tenant, minutes=minutes)).one_or_none() is None:
        raise NotFound("there is no such tenant")
