"""Lines of a chain, as an operator reads them."""

from datetime import datetime
from typing import Final

from sqlalchemy import text

from pipeline.record import Record
from serving.audit.lines import columns, line_of
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute

_LATEST: Final = text(
    """
    SELECT l.number, a.* FROM audit_link l JOIN audit a ON a.id = l.id
    WHERE l.chain = :chain ORDER BY l.number DESC LIMIT :most
    """
)


class Shown(Record, frozen=True, kw_only=True):
    """A line: what `serving.db.audit.AuditEntry` says of each field, and its number in its chain."""

    number: int
    id: str
    tenant_id: str | None
    at: datetime
    kind: str
    operation: str
    actor: str | None
    credential: str | None
    address: str | None
    request_id: str | None
    write: str | None
    targets: tuple[str, ...]
    code: str | None
    count: int


async def latest(database: Database, chain: str, most: int) -> tuple[Shown, ...]:
    """The latest lines of a chain that are linked, the latest last. Raises DatabaseUnavailable."""
    async with database.read(SYSTEM) as session:
        found = (await execute(session, _LATEST, chain=chain, most=most)).all()
    return tuple(Shown(number=row.number, **columns(line_of(row))) for row in reversed(found))
