"""A finder dies before or after any durable write: the next comes to the same pairs."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.db import embedded, failpoints
from serving.db.database import Database
from tests.serving.copies.conftest import name_of, put
from tests.serving.jobs.conftest import World

ROOT = Path(__file__).parents[3]

POINTS = [
    f"{name}:{moment}{nth}"
    for name in ("copies.claim", "copies.renew", "copies.done")
    for moment in ("before", "after")
    for nth in ("", ":3")
]


@pytest.fixture(scope="module")
def find(server) -> Iterator[Callable[[str, str], int]]:
    """Finds all that is due in a database, dying at a point; how it ended."""
    command = (sys.executable, "-m", "tests.serving.copies.dying", server)
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def run(name: str, point: str = "") -> int:
            process.stdin.write(f"{name} {point}\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            return int(process.stdout.readline())  # type: ignore[union-attr]

        yield run
        process.stdin.close()


@pytest.mark.parametrize("point", POINTS)
def test_dying_there_comes_to_the_same(server, find, films, point):
    name = "copies_" + point.replace(":", "_").replace(".", "_")
    embedded.copied(server, name)

    async def within(body: Callable) -> object:
        database = Database(embedded.named(server, name), pool_size=2)
        try:
            return await body(database)
        finally:
            await database.close()

    async def prepared(database: Database) -> None:
        await World.made(database)
        await put(database, films)

    async def pairs(database: Database) -> list:
        world = World(database)
        found = await world.sql("SELECT first_id, second_id FROM video_copy ORDER BY first_id")
        assert await world.sql("SELECT DISTINCT state FROM video_looks") == [("done",)]
        return list(found)

    asyncio.run(within(prepared))
    assert find(name, point) == failpoints.EXIT
    assert find(name) == 0
    assert asyncio.run(within(pairs)) == [(name_of(1), name_of(10)), (name_of(2), name_of(11))]
