"""How much a tenant may keep: its videos, with what came with them in archives, their renditions, and the parts of
uploads that are under way. Bytes that it sends twice are kept once, and count once.

What is kept is added up anew each time, so that no counter can drift from it; an index has all that is added. It is
looked at before an upload begins, which spares it, and in the transaction that keeps bytes, which decides.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.statements import execute
from serving.errors import NotFound, QuotaExceeded

#: Of transactions that keep bytes of one tenant, one goes on at a time, so that all others see what it kept.
_ALONE: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('quota ' || :tenant, 0))")

_ALLOWED: Final = text("SELECT coalesce(quota_bytes, :otherwise) FROM tenant WHERE id = :tenant")

_USAGE: Final = text(
    """
    SELECT
        (SELECT coalesce(sum(size_bytes + imported_bytes), 0) FROM video WHERE tenant_id = :tenant)::bigint
            AS video_bytes,
        (SELECT coalesce(sum(size_bytes), 0) FROM rendition WHERE tenant_id = :tenant)::bigint AS rendition_bytes,
        (SELECT coalesce(sum(size_bytes), 0) FROM upload_part WHERE tenant_id = :tenant)::bigint AS upload_bytes
    """
)

_COUNTS: Final = text(
    """
    SELECT
        (SELECT count(*) FROM video WHERE tenant_id = :tenant) AS videos,
        (SELECT count(*) FROM upload WHERE tenant_id = :tenant AND status = 'waiting') AS uploads
    """
)

_SET: Final = text("UPDATE tenant SET quota_bytes = :quota_bytes WHERE id = :tenant RETURNING id")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a tenant keeps, and may keep."""

    video_bytes: int
    """With what came with them in archives."""
    rendition_bytes: int
    upload_bytes: int
    """Of uploads under way, as far as they have come."""
    allowed_bytes: int | None
    """None: as much as there is room for."""
    videos: int
    uploads: int
    """Under way."""

    @property
    def used_bytes(self) -> int:
        """All that counts."""
        return self.video_bytes + self.rendition_bytes + self.upload_bytes


async def require_room(session: AsyncSession, tenant: str, more_bytes: int, default_bytes: int) -> None:
    """Nothing where the tenant may keep so much more. The answer holds until the session's transaction is over: others
    who ask for the same tenant wait until then.

    Args:
        more_bytes: beyond what the session itself sees as kept.
        default_bytes: what the setting `upload.tenant_max_bytes` says.

    Raises:
        QuotaExceeded: it may not; says what is used, and allowed.
    """
    allowed_bytes = await _allowed(session, tenant, default_bytes)
    if allowed_bytes is None:
        return
    await execute(session, _ALONE, tenant=tenant)
    used_bytes = await _used(session, tenant)
    if used_bytes + more_bytes > allowed_bytes:
        raise QuotaExceeded(f"there is no room for {more_bytes} bytes: {used_bytes} of {allowed_bytes} are used")


async def room_bytes(session: AsyncSession, tenant: str, default_bytes: int) -> int | None:
    """How much more the tenant may keep, as things are just now; None: as much as there is room for. `default_bytes`:
    as for `require_room`."""
    allowed_bytes = await _allowed(session, tenant, default_bytes)
    return None if allowed_bytes is None else max(0, allowed_bytes - await _used(session, tenant))


def require_within(size_bytes: int, room: int | None) -> None:
    """Of what comes without saying how much it is: whether so much fits into what `room_bytes` said. Raises
    QuotaExceeded."""
    if room is not None and size_bytes > room:
        raise QuotaExceeded(f"there are {size_bytes} bytes or more; {room} of the quota are left")


async def usage(session: AsyncSession, tenant: str, default_bytes: int) -> Usage:
    """What the tenant keeps. Raises NotFound."""
    return Usage(
        **(await execute(session, _USAGE, tenant=tenant)).mappings().one(),
        **(await execute(session, _COUNTS, tenant=tenant)).mappings().one(),
        allowed_bytes=await _allowed(session, tenant, default_bytes),
    )


async def set_quota(session: AsyncSession, tenant: str, quota_bytes: int | None) -> None:
    """Say how much a tenant may keep. What it keeps beyond that stays. None: what the setting says; 0: as much as there
    is room for. Raises NotFound."""
    found = await execute(session, _SET, tenant=tenant, quota_bytes=quota_bytes)
    if found.one_or_none() is None:
        raise NotFound("there is no such tenant")


async def _used(session: AsyncSession, tenant: str) -> int:
    used = (await execute(session, _USAGE, tenant=tenant)).one()
    return used.video_bytes + used.rendition_bytes + used.upload_bytes


async def _allowed(session: AsyncSession, tenant: str, default_bytes: int) -> int | None:
    found = (await execute(session, _ALLOWED, tenant=tenant, otherwise=default_bytes)).scalar_one_or_none()
    if found is None:
        raise NotFound("there is no such tenant")
    return found or None
