"""From a video's row to a file that can be read: the object, and the one key that opens it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pipeline.sealed.files import SealedFile
from serving.db.database import Database
from serving.storage.store import Store, video_at


@asynccontextmanager
async def opened(database: Database, store: Store, tenant: str, object_key: str) -> AsyncIterator[Path | SealedFile]:
    """The file of a video, for as long as the block lasts.

    Raises:
        InputNotFound: its key was destroyed.
        MasterKeyMissing, Altered: see `Keyring.tenant_key`.
    """
    async with database.read(tenant) as session:
        key = await store.keyring.key_of(session, tenant, object_key)
    async with store.opened(video_at(tenant, object_key), key) as file:
        yield file
