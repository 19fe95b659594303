"""What a sweep must not delete: a library of another database, and what is about to be named."""

import asyncio
import os
import time

import pytest
from sqlalchemy import text

from serving.db import embedded
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.errors import DatabaseUnavailable
from serving.storage import owning
from serving.storage.store import Store, video_at
from serving.uploads import cleaning, receive
from tests.serving.buckets import VARIABLE
from tests.serving.uploads.test_cleaning import _run

pytestmark = pytest.mark.skipif(VARIABLE in os.environ, reason="objects of a bucket cannot be made older than they are")


def _grown_old(api) -> None:
    old = time.time() - 2 * cleaning.ORPHANED_S
    for file in api.objects.rglob("*"):
        os.utime(file, (old, old))


@pytest.mark.parametrize("claimed", [True, False])
def test_a_library_of_another_database_is_left_alone(api, film, server, tmp_path, claimed):
    """A worker was started over the right store, with an empty database."""
    embedded.copied(server, f"empty_{tmp_path.name}")
    video = api.a.upload(film)["video_id"]
    if claimed:
        assert _run(api, lambda database: cleaning.sweep(database, api.store)) == 0
        assert (api.objects / owning.OWNER).exists()
    _grown_old(api)

    async def sweep() -> int:
        other = Database(embedded.named(server, f"empty_{tmp_path.name}"), pool_size=1)
        try:
            return await cleaning.sweep(other, api.store)
        finally:
            await other.close()

    assert asyncio.run(sweep()) == 0
    assert api.files() == [f"videos/{video}"]


def test_who_claims_a_store_sweeps_it_and_nobody_else(api, film, server, tmp_path):
    """It was moved, or its database was: somebody says so."""
    embedded.copied(server, f"moved_{tmp_path.name}")
    api.a.upload(film)
    (api.objects / "videos" / "vid_orphan").write_bytes(b"x")
    _run(api, lambda database: cleaning.sweep(database, api.store))
    _grown_old(api)

    async def claim() -> int:
        other = Database(embedded.named(server, f"moved_{tmp_path.name}"), pool_size=1)
        try:
            await owning.claim(other, api.store)
            return await cleaning.sweep(other, api.store)
        finally:
            await other.close()

    assert _run(api, lambda database: _owned(database, api.store))
    assert asyncio.run(claim()) == 2
    assert not _run(api, lambda database: _owned(database, api.store))


async def _owned(database: Database, store: Store) -> bool:
    return await owning.owns(database, store)


async def _chunks(content: bytes):
    yield content


async def _kept(database: Database, store: Store, stored: receive.Stored) -> None:
    async with database.write("upload.complete", "a") as session:
        await receive.keep(session, store.keyring, "a", stored, title=None, filename="f", tenant_max_bytes=0)


def test_what_was_swept_is_named_by_nobody(api, film):
    """A store may say of an object that it is from when it was begun: so its row may come just now."""

    async def run(database: Database) -> None:
        await owning.owns(database, api.store)
        stored = await receive.put(api.store, "a", _chunks(film), "f")
        _grown_old(api)
        delete = api.store.delete

        async def named_first(key: str) -> None:
            with pytest.raises(DatabaseUnavailable, match="swept"):
                await _kept(database, api.store, stored)
            await delete(key)

        api.store.delete = named_first
        try:
            assert await cleaning.sweep(database, api.store) == 1
        finally:
            api.store.delete = delete
        # Whoever sends it again is not refused.
        await _kept(database, api.store, await receive.put(api.store, "a", _chunks(film), "f"))

    _run(api, run)
    assert api.sql("SELECT count(*) FROM video") == [(1,)]


def test_what_is_about_to_be_named_is_not_swept(api, film):
    async def run(database: Database) -> None:
        await owning.owns(database, api.store)
        stored = await receive.put(api.store, "a", _chunks(film), "f")
        _grown_old(api)
        async with database.write("upload.complete", "a") as session:
            await receive.keep(session, api.store.keyring, "a", stored, title=None, filename="f", tenant_max_bytes=0)
            # Its row is there, and nobody else sees it yet.
            assert await cleaning.sweep(database, api.store) == 0
        async with database.read(SYSTEM) as session:
            assert (await execute(session, text("SELECT count(*) FROM swept_object"))).scalar_one() == 0

    _run(api, run)
    ((key,),) = api.sql("SELECT object_key FROM video")
    assert api.files() == [key]
    assert video_at("a", key).blob == key


def test_of_two_who_sweep_at_once_one_counts(api, film):
    async def run(database: Database) -> None:
        await owning.owns(database, api.store)
        await receive.put(api.store, "a", _chunks(film), "f")
        _grown_old(api)
        delete, others = api.store.delete, []

        async def slowly(key: str) -> None:
            api.store.delete = delete
            others.append(await cleaning.sweep(database, api.store))
            await delete(key)

        api.store.delete = slowly
        try:
            assert (await cleaning.sweep(database, api.store), others) == (1, [0])
        finally:
            api.store.delete = delete

    _run(api, run)
    assert [name for name in api.files() if name.startswith("videos/")] == []
