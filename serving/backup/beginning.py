"""What a restored server begins with besides its rows and objects: a store of its own, and the secret."""

import os
import tempfile
from pathlib import Path

from serving.audit.acting import ACTING, commanding
from serving.audit.keeping import Keeping
from serving.backup import form
from serving.backup.reading import rows_of
from serving.backup.rows import value
from serving.db.database import Database
from serving.errors import BackupRefused
from serving.flushing import flush
from serving.places import Places
from serving.storage import owning
from serving.storage.store import Store


async def require_own(store: Store, source: Store, manifest: form.Manifest) -> None:
    """Raises BackupRefused where the store has a library of another database: the restored one would sweep that."""
    owner = await owning.owner_of(store)
    saved = [value(row["id"]) async for row in rows_of(source, manifest, "store_owner")]
    if owner is not None and owner not in saved:
        raise BackupRefused(
            f"{store.name} belongs to another database than the one that was saved, which has objects there; name "
            "another store; or say --take-over, where that database is gone"
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
