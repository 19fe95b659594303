"""Whether the master keys are here that the database relies on: asked before a server starts."""

from typing import Final

from sqlalchemy import text

from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.errors import MasterKeyMissing
from serving.storage.keyring import Keyring

#: A schema from before has none of them.
_THERE: Final = text("SELECT to_regclass('tenant_key') IS NOT NULL")

_MASTERS: Final = text("SELECT master, count(*) AS keys FROM tenant_key GROUP BY master ORDER BY master")


async def masters(database: Database) -> dict[str, int]:
    """Name of a master key -> keys of tenants that are wrapped by it. Raises DatabaseUnavailable."""
    async with database.read(SYSTEM) as session:
        if not (await execute(session, _THERE)).scalar_one():
            return {}
        return {row.master: row.keys for row in (await execute(session, _MASTERS)).all()}


def lost(found: dict[str, int], keyring: Keyring) -> tuple[str, ...]:
    """Those of them that are not here: what they wrap is unreadable."""
    return tuple(name for name in found if not keyring.master.knows(name))


async def require_known(url: str, keyring: Keyring) -> None:
    """Raises MasterKeyMissing where the database has keys of tenants that no master key at hand has wrapped: a server
    would seal with another one what comes, and could not read what is there. DatabaseUnavailable: see `masters`."""
    database = Database(url, pool_size=1)
    try:
        found = await masters(database)
    finally:
        await database.close()
    if gone := lost(found, keyring):
        raise MasterKeyMissing(
            f"the database has keys that are wrapped by the master key {', '.join(gone)}, which is not here; put it "
            f"back (storage.master_key, or the file `master-key` of the data folder, which is made anew where it is "
            f"missing), or name it in storage.old_master_keys; {keyring.master.name} is what wraps now"
        )
