"""What a restored server begins with besides its rows and objects: a store of its own, and the secret."""

import os
import tempfile
from pathlib import Path

from serving.audit.acting import ACTING, commanding
from serving.audit.keeping import Keeping
from serving.db.database import Database
from serving.errors import BackupRefused
from serving.flushing import flush
from serving.places import Places
from serving.storage import owning
from serving.storage.store import Store


async def require_nobodys(store: Store) -> None:
    """Raises BackupRefused where the store belongs to a database. It would lose it, and the restored one sweep what it
    does not name: also where it is the one that was saved, and has gone on since. A store says no more than that."""
    if await owning.owner_of(store) is not None:
        raise BackupRefused(
            f"{store.name} belongs to a database, the one that was saved or another, which would lose it to the "
            "restored one: that deletes what came since. To try a restore, name another store (storage.url); where "
            "that database is gone, say --take-over"
        )


async def begin(place: Places, name: str) -> None:
    """Have the store be the new database's, and the audit log say who restored it."""
    database = Database(place.database_url, pool_size=1)
    try:
        keeping = Keeping(database, place.keyring)
        ACTING.set(commanding("restore"))
        await owning.claim(database, place.store, "backup.restored", name)
        ACTING.set(None)
        await keeping.keep()
    finally:
        await database.close()


def put_secret(file: Path, secret: bytes) -> None:
    """In place of the one that this data folder began with, which nobody was given a key by."""
    descriptor, made = tempfile.mkstemp(dir=file.parent, prefix=f"{file.name}-")
    with os.fdopen(descriptor, "wb") as out:
        out.write(secret)
        out.flush()
        os.fsync(descriptor)
    os.replace(made, file)
    flush(file.parent)
