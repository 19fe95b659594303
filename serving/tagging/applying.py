"""Vocabularies come to stand for a library, and no longer do."""

from sqlalchemy import text

from serving.db.database import Database
from serving.db.tagging import Tagging
from serving.tagging import runs
from serving.tagging.forgetting import forget
from serving.vocabularies import rows


async def apply(database: Database, tenant: str, which: str) -> Tagging:
    """Have a vocabulary stand for the library, or tag it anew where it does already; the run that does it.

    Raises:
        NotFound: the tenant has none of this id or name.
        Conflict: it comes with the server.
    """
    rows.require_own(which)
    async with database.write("vocabulary.write", tenant) as session:
        row = await rows.find(session, tenant, which, lock=True)
        if row.applied_at is None:
            row.applied_at = text("now()")  # type: ignore[assignment]
            session.add(row)
            await session.flush()
        return await runs.begin(session, tenant, row.id, "applied")


async def unapply(database: Database, tenant: str, which: str) -> None:
    """The other way round: its tags are gone. What was said of them, and learnt, stays for when it stands again. Raises
    as `apply`."""
    rows.require_own(which)
    async with database.write("vocabulary.write", tenant) as session:
        row = await rows.find(session, tenant, which, lock=True)
        row.applied_at = None
        session.add(row)
        await session.flush()
        await forget(session, row)
