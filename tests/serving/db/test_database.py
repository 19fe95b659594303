"""Transactions that cannot be: what is said, and what is not."""

import logging

import pytest
from sqlalchemy.exc import DBAPIError

from serving.db.accounts import Tenant
from serving.db.database import SYSTEM, Database
from serving.db.media import Video
from serving.errors import DatabaseUnavailable, NotFound
from tests.serving.jobs.conftest import run, url

__all__ = ["run", "url"]


def test_when_all_connections_are_in_use_the_database_is_not_there_now(run):
    async def body(world):
        narrow = Database(world.database.url, pool_size=1)
        narrow.engine.pool._timeout = 0.2  # type: ignore[attr-defined]
        try:
            async with narrow.read("a"):
                with pytest.raises(DatabaseUnavailable):
                    async with narrow.read("a"):
                        pass
            async with narrow.read("a"):
                pass
        finally:
            await narrow.close()

    run(body)


def test_what_was_deleted_meanwhile_is_not_found(run):
    async def body(world):
        async def change() -> None:
            async with world.database.write("video.write", "a") as session:
                video = await session.get_one(Video, "vid_a")
                await world.change("DELETE FROM video WHERE id = 'vid_a'")
                video.title = "new"
                session.add(video)

        with pytest.raises(NotFound):
            await change()

    run(body)


def test_what_could_not_be_written_is_in_no_message(run, caplog):
    async def body(world):
        async def twice() -> None:
            async with world.database.write("tenant.create", SYSTEM) as session:
                session.add(Tenant(id="a", name="7654321"))

        with pytest.raises(DBAPIError) as failed:
            await twice()
        assert "7654321" not in str(failed.value)
        logging.getLogger("test").error("it failed", exc_info=failed.value)
        assert "7654321" not in caplog.text

    run(body)
