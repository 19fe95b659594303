"""A real PostgreSQL, embedded as `automations serve` embeds it; every test has a database of its own in it."""

import asyncio
import itertools
from collections.abc import Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from pipeline.spec import AnalysisSpec
from serving.db import embedded
from serving.db.accounts import Tenant
from serving.db.database import SYSTEM, Database
from serving.db.media import Video
from serving.db.statements import execute
from serving.jobs.queue import Queue
from tests.serving.sealing import keyring

_numbers = itertools.count()


@pytest.fixture
def url(server) -> str:
    """URL of an empty database."""
    name = f"test_{next(_numbers)}"
    embedded.copied(server, name)
    return embedded.named(server, name)


@pytest.fixture
def run(url) -> Callable:
    """Runs `async def test(world)` in a loop, with a database that has a tenant and a video."""

    @asynccontextmanager
    async def world():
        database = Database(url)
        try:
            yield await World.made(database)
        finally:
            await database.close()

    def run(body: Callable) -> None:
        async def main() -> None:
            async with world() as made:
                await body(made)

        asyncio.run(main())

    return run


class World:
    """A database with tenants `a` and `b`, who have a video each."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.keyring = keyring()
        self.queue = Queue(database, self.keyring, lease_s=30.0)

    @classmethod
    async def made(cls, database: Database) -> "World":
        async with database.write("tenant.create", SYSTEM) as session:
            for tenant in ("a", "b"):
                session.add(Tenant(id=tenant, name=tenant))
            await session.flush()
            for tenant in ("a", "b"):
                session.add(
                    Video(
                        id=f"vid_{tenant}",
                        tenant_id=tenant,
                        title=tenant,
                        size_bytes=1,
                        sha256=tenant,
                        object_key=tenant,
                    )
                )
        return cls(database)

    async def sql(self, query: str, **values):
        """All rows of a query, as the server itself."""
        async with self.database.read(SYSTEM) as session:
            return (await execute(session, text(query), **values)).all()

    async def change(self, query: str, **values) -> None:
        """Run a statement as the server itself."""
        async with self.database.write("clean.expired", SYSTEM) as session:
            await execute(session, text(query), **values)


def specs(count: int) -> list[AnalysisSpec]:
    """Specs whose features differ."""
    return [AnalysisSpec(model=f"model-{number}") for number in range(count)]
