"""The space that vocabularies look at."""

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.search import Space


async def active_space(session: AsyncSession, tenant: str) -> Space | None:
    """The one that searches are answered from; None where nothing was analysed."""
    query = select(Space).where(Space.tenant_id == tenant, Space.state == "active")
    return (await session.exec(query)).one_or_none()
