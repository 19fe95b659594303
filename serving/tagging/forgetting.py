"""What a vocabulary found is taken away."""

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.statements import execute
from serving.db.vocabularies import Vocabulary
from serving.tagging import runs

_FORGET = (
    text(
        "DELETE FROM lexeme WHERE tenant_id = :tenant AND video_id IN ("
        "SELECT video_id FROM found_tags WHERE tenant_id = :tenant AND vocabulary_id = :origin) "
        "AND starts_with(source, 'tag:' || cast(:origin AS text) || ':')"
    ),
    text("DELETE FROM video_tag WHERE tenant_id = :tenant AND origin = :origin"),
    text("DELETE FROM tag_span WHERE tenant_id = :tenant AND origin = :origin"),
    text("DELETE FROM found_tags WHERE tenant_id = :tenant AND vocabulary_id = :origin"),
)


async def forget(session: AsyncSession, row: Vocabulary) -> None:
    """Take away all that a vocabulary found, whose row is locked, and end what finds more."""
    await runs.stop(session, row.tenant_id, row.id)
    for statement in _FORGET:
        await execute(session, statement, tenant=row.tenant_id, origin=row.id)
