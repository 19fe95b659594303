"""Notes what somebody did that changes no row: a backup leaves the database as it is."""

from typing import Final

from sqlalchemy import text

from serving.audit.acting import about
from serving.db.database import SYSTEM, Database
from serving.db.failpoints import Write
from serving.db.statements import execute

#: Only transactions that write are noted, and such are those that have a number.
_NUMBERED: Final = text("SELECT pg_current_xact_id()")


async def noted(database: Database, write: Write, target: str) -> None:
    """Note that whoever acts did this to `target`. Raises as `Database.write`."""
    async with database.write(write, SYSTEM) as session:
        about(target)
        await execute(session, _NUMBERED)
