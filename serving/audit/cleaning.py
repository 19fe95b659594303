"""Deletes entries of the audit log that are old."""

from typing import Final

from sqlalchemy import text

from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.options import AuditOptions

#: Entries that are deleted in one transaction.
_AT_ONCE: Final = 5000

_OLD = text(
    """
    DELETE FROM audit WHERE id IN (
        SELECT id FROM audit WHERE at < now() - make_interval(days => :days) LIMIT :most FOR UPDATE SKIP LOCKED
    )
    """
)


async def clean_audit(database: Database, options: AuditOptions) -> int:
    """Delete what is older than it is to be kept; how many entries that were. Several processes may do it at once."""
    removed = 0
    while True:
        async with database.write("clean.old", SYSTEM) as session:
            found = (await execute(session, _OLD, days=options.keep_days, most=_AT_ONCE)).rowcount
        removed += found
        if found < _AT_ONCE:
            return removed
