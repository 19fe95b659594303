"""What videos are called, for results that name them."""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.statements import execute

_TITLES: Final = text("SELECT id, title FROM video WHERE tenant_id = :tenant AND id = ANY(cast(:ids AS text[]))")


async def titles_of(session: AsyncSession, tenant: str, ids: Sequence[str]) -> Mapping[str, str]:
    """Video -> its title, of those that are there."""
    rows = (await execute(session, _TITLES, tenant=tenant, ids=list(ids))).all()
    return {row.id: row.title for row in rows}
