"""Stores of tests, which all have one master key."""

import asyncio
import os
from pathlib import Path

from sqlmodel import select

from serving.db.database import SYSTEM, Database
from serving.db.keys import DataKey
from serving.storage.keyring import Keyring
from serving.storage.master import LocalMaster
from serving.storage.store import Store, video_at
from tests.serving.buckets import ENDPOINT, bucket_at

#: The master key.
MASTER_KEY = bytes(range(32))


def keyring() -> Keyring:
    """Keys, for who has the master key."""
    return Keyring(LocalMaster([MASTER_KEY]))


def folder_at(root: Path) -> Store:
    """A store in a folder."""
    return Store(root, keyring())


def store_at(root: Path) -> Store:
    """A store in a folder; or in a bucket, where all of them are to be."""
    if not (endpoint := os.environ.get(ENDPOINT)):
        return folder_at(root)
    return Store(bucket_at(root, endpoint), keyring())


async def kept(database: Database, store: Store, object_key: str) -> bytes:
    """The bytes of a video, as they came."""
    async with database.read(SYSTEM) as session:
        tenant = (await session.exec(select(DataKey.tenant_id).where(DataKey.object_key == object_key))).one()
        key = await store.keyring.key_of(session, tenant, object_key)
    assert key is not None
    return b"".join([chunk async for chunk in store.get(video_at(tenant, object_key), key)])


def kept_in(url: str, store: Store, object_key: str) -> bytes:
    """The same, where no loop runs."""

    async def look() -> bytes:
        database = Database(url, pool_size=1)
        try:
            return await kept(database, store, object_key)
        finally:
            await database.close()

    return asyncio.run(look())
