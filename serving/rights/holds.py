"""Legal holds: a video that is under one is erased by nobody, neither on request nor by a rule."""

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.database import Database
from serving.db.media import Video
from serving.db.rights import LegalHold
from serving.errors import NotFound


async def place(database: Database, tenant: str, video_id: str, reason: str, actor: str) -> LegalHold:
    """Hold a video; where it is held, for another reason from now on. Raises NotFound."""
    async with database.write("hold.write", tenant) as session:
        # So that it is not being erased just now.
        query = select(Video.id).where(Video.tenant_id == tenant, Video.id == video_id)
        if (await session.exec(query.with_for_update(key_share=True))).one_or_none() is None:
            raise NotFound("there is no such video")
        hold = await _found(session, tenant, video_id)
        if hold is None:
            hold = LegalHold(video_id=video_id, tenant_id=tenant, reason=reason, placed_by=actor)
        hold.reason = reason
        session.add(hold)
        await session.flush()
        await session.refresh(hold)
    return hold


async def release(database: Database, tenant: str, video_id: str) -> None:
    """Hold a video no longer. Raises NotFound: there is none, or it is not held."""
    async with database.write("hold.write", tenant) as session:
        hold = await _found(session, tenant, video_id)
        if hold is None:
            raise NotFound("there is no such hold")
        await session.delete(hold)


async def find(database: Database, tenant: str, video_id: str) -> LegalHold:
    """The hold that a video is under. Raises NotFound: there is none, or it is not held."""
    async with database.read(tenant) as session:
        hold = await _found(session, tenant, video_id)
    if hold is None:
        raise NotFound("there is no such hold")
    return hold


async def _found(session: AsyncSession, tenant: str, video_id: str) -> LegalHold | None:
    query = select(LegalHold).where(LegalHold.tenant_id == tenant, LegalHold.video_id == video_id)
    return (await session.exec(query)).one_or_none()
