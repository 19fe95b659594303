"""Whether the master keys are here that the database relies on: asked before a server starts."""

from typing import Final

from sqlalchemy import text

from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.errors import MasterKeyMissing
from serving.storage.keyring import Keyring

#: Tables of keys that a master key wraps. A schema from before has none of them, or not all.
_TABLES: Final = ("tenant_key", "audit_key")
_THERE: Final = text("SELECT name FROM unnest(CAST(:names AS text[])) AS name WHERE to_regclass(name) IS NOT NULL")

_MASTERS: Final = "SELECT master, count(*) AS keys FROM ({tables}) AS k GROUP BY master ORDER BY master"


async def masters(database: Database) -> dict[str, int]:
    """Name of a master key -> keys that are wrapped by it: of tenants, and that of the audit log. Raises
    DatabaseUnavailable."""
    async with database.read(SYSTEM) as session:
        there = (await execute(session, _THERE, names=list(_TABLES))).scalars().all()
        if not there:
            return {}
        tables = " UNION ALL ".join(f"SELECT master FROM {name}" for name in there)
        return {row.master: row.keys for row in (await execute(session, text(_MASTERS.format(tables=tables)))).all()}


def lost(found: dict[str, int], keyring: Keyring) -> tuple[str, ...]:
    """Those of them that are not here: what they wrap is unreadable."""
    return tuple(name for name in found if not keyring.master.knows(name))


async def require_known(url: str, keyring: Keyring) -> None:
    """Raises MasterKeyMissing where the database has keys that no master key at hand has wrapped: a server
    would seal with another one what comes, and could not read what is there. DatabaseUnavailable: see `masters`."""
    database = Database(url, pool_size=1)
    try:
        found = await masters(database)
    finally:
        await database.close()
    if gone := lost(found, keyring):
        raise MasterKeyMissing(
            f"the database has keys that are wrapped by the master key {', '.join(gone)}, which is not here; put it "
            f"back (storage.master_key, which may name a service that has it, or the file `master-key` of the data "
            f"folder, which is made anew where it is missing), or name it in storage.old_master_keys; "
            f"{keyring.master.name} is what wraps now"
        )
