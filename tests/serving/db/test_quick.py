"""Reads by id that go together: everybody gets their own, and nobody waits for ever."""

import asyncio
import random

import pytest

from serving.db.quick import QuickReads
from serving.errors import DatabaseUnavailable
from tests.serving.jobs.conftest import run, url

__all__ = ["run", "url"]

_VIDEOS = """
INSERT INTO video (id, tenant_id, title, size_bytes, sha256, object_key, labels, user_metadata, status)
SELECT tenant || n, tenant, tenant || n, n, 'h' || n, 'k', '{}', '{}', 'uploaded'
FROM generate_series(1, 200) n, unnest(ARRAY['a', 'b']) tenant
"""


@pytest.fixture
def reads(run):
    """Runs `async def test(quick, world)` with 200 videos of each tenant, `a1` to `a200` and `b1` to `b200`."""

    def with_reads(body):
        async def main(world):
            await world.change(_VIDEOS)
            quick = QuickReads(world.database.url)
            try:
                await body(quick, world)
            finally:
                await quick.close()

        run(main)

    return with_reads


def test_everybody_gets_what_they_asked_for(reads):
    async def body(quick, _):
        rng = random.Random(0)

        async def caller(tenant: str) -> None:
            for _ in range(40):
                number = rng.randint(1, 250)
                found = await asyncio.wait_for(quick.row("tenant_videos", tenant, f"{tenant}{number}"), 10)
                if number > 200:
                    assert found is None
                else:
                    assert (found.tenant_id, found.size_bytes, found.labels) == (tenant, number, [])
                # Some come while others are being read, some when nobody is.
                await asyncio.sleep(rng.choice((0, 0, 0.001)))

        await asyncio.gather(*(caller(tenant) for tenant in "ab" * 20))

    reads(body)


def test_many_at_once_are_few_statements(reads):
    async def body(quick, _):
        statements = 0
        rows = quick._line.rows

        async def counted(*arguments):
            nonlocal statements
            statements += 1
            return await rows(*arguments)

        quick._line.rows = counted
        found = await asyncio.gather(*(quick.row("tenant_videos", "a", f"a{n % 200 + 1}") for n in range(400)))
        assert [one.size_bytes for one in found] == [n % 200 + 1 for n in range(400)]
        assert statements <= 5

    reads(body)


def test_what_is_anothers_is_not_there(reads):
    async def body(quick, _):
        assert await quick.row("tenant_videos", "b", "a1") is None
        assert (await quick.row("tenant_videos", "a", "a1")).id == "a1"

    reads(body)


def test_who_goes_away_takes_nobody_along(reads):
    async def body(quick, _):
        asked = [asyncio.create_task(quick.row("tenant_videos", "a", "a1")) for _ in range(10)]
        await asyncio.sleep(0)
        for one in asked[::2]:
            one.cancel()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [isinstance(one, asyncio.CancelledError) for one in found] == [True, False] * 5

    reads(body)


def test_a_connection_that_breaks_is_made_anew(reads):
    async def body(quick, world):
        await quick.row("tenant_videos", "a", "a1")
        quick._line._connection.terminate()
        try:
            found = await asyncio.wait_for(quick.row("tenant_videos", "a", "a1"), 10)
        except DatabaseUnavailable:
            found = await asyncio.wait_for(quick.row("tenant_videos", "a", "a1"), 10)
        assert found.id == "a1"

    reads(body)


def test_what_goes_wrong_is_told_to_all_who_wait(reads):
    async def body(quick, _):
        rows, broken = quick._line.rows, asyncio.Event()

        async def breaking(*arguments):
            await broken.wait()
            raise RuntimeError("not of the database")

        quick._line.rows = breaking
        asked = [
            asyncio.create_task(quick.row("tenant_videos", tenant, f"{tenant}{n}")) for n in (1, 2) for tenant in "ab"
        ]
        await asyncio.sleep(0.01)
        broken.set()
        for one in asked:
            with pytest.raises(RuntimeError):
                await asyncio.wait_for(one, 10)
        quick._line.rows = rows
        assert (await quick.row("tenant_videos", "a", "a1")).id == "a1"

    reads(body)


def test_what_is_no_text_of_the_database_is_not_there(reads):
    async def body(quick, _):
        wrong = ("\0", "a1\0", "\ud800")
        asked = [quick.row("tenant_videos", "a", name) for one in wrong for name in (one, "a1")]
        found = await asyncio.wait_for(asyncio.gather(*asked), 10)
        assert found[::2] == [None] * 3
        assert [one.id for one in found[1::2]] == ["a1"] * 3
        assert await quick.row("tenant_videos", "a\0", "a1") is None

    reads(body)


def test_what_goes_wrong_with_one_is_told_to_nobody_else(reads):
    async def body(quick, _):
        rows = quick._line.rows

        async def picky(statement, tenant, names):
            if "a7" in names:
                raise RuntimeError("not of the others")
            return await rows(statement, tenant, names)

        quick._line.rows = picky
        asked = [quick.row("tenant_videos", "a", f"a{n}") for n in range(1, 101)]
        found = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 30)
        assert isinstance(found.pop(6), RuntimeError)
        assert [getattr(one, "size_bytes", one) for one in found] == [n for n in range(1, 101) if n != 7]

    reads(body)
