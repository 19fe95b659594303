"""Workers that claim at the same time: of jobs with the same features one runs, and nobody goes without."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from pipeline.spec import AnalysisSpec, SegmentSpec
from serving.db.database import SYSTEM
from serving.db.statements import execute
from serving.jobs import outcomes, submission
from serving.jobs.lease import Problem
from serving.jobs.submission import JobRequest
from tests.serving.jobs.conftest import specs

#: Those who wait for a lock, in this database.
WAITING = """
    SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE NOT l.granted AND a.datname = current_database()
"""

#: Specs whose features are the same.
ALIKE = [AnalysisSpec(segments=SegmentSpec(max_segments=count)) for count in range(1, 7)]


async def _submit(world, tenant, *wanted) -> list[str]:
    requests = [JobRequest(video_id=f"vid_{tenant}", spec=spec) for spec in wanted]
    return [(await submission.submit(world.database, tenant, [request]))[0].job.id for request in requests]


@asynccontextmanager
async def _held_up(world):
    """Nobody who claimed a job gets any further while the block lasts."""
    async with world.database.write("clean.expired", SYSTEM) as session:
        await execute(session, text("LOCK TABLE event IN SHARE MODE"))
        yield


async def _until_waiting(world, count: int) -> None:
    async with asyncio.timeout(20):
        while (await world.sql(WAITING))[0][0] < count:
            await asyncio.sleep(0.01)


def test_who_claims_sees_what_is_just_being_claimed(run):
    async def body(world):
        await _submit(world, "a", *ALIKE[:2])
        async with _held_up(world):
            claims = [asyncio.create_task(world.queue.claim(f"w{number}")) for number in range(2)]
            await _until_waiting(world, 2)
        leases = await asyncio.gather(*claims)
        assert sum(lease is not None for lease in leases) == 1

    run(body)


def test_who_finds_a_tenant_taken_goes_on_to_the_next_and_comes_back(run):
    async def body(world):
        mine = set(await _submit(world, "a", *specs(2)))
        (theirs,) = await _submit(world, "b", AnalysisSpec())
        # Under load both are as well served, so that the order is a matter of chance: not here.
        await world.change("UPDATE job SET run_after = now() + interval '1 h' WHERE tenant_id = 'b'")
        async with _held_up(world):
            first = asyncio.create_task(world.queue.claim("first"))
            await _until_waiting(world, 1)
            await world.change("UPDATE job SET run_after = now() WHERE tenant_id = 'b'")
            second = asyncio.create_task(world.queue.claim("second"))
            await _until_waiting(world, 2)
            third = asyncio.create_task(world.queue.claim("third"))
            await _until_waiting(world, 3)
        leases = [await one for one in (first, second, third)]
        assert {lease.job_id for lease in leases if lease} == {*mine, theirs}
        assert leases[1].tenant_id == "b"

    run(body)


def test_many_at_once_run_one_of_a_kind(run):
    async def body(world):
        await _submit(world, "a", *ALIKE)
        for _ in range(len(ALIKE)):
            leases = [lease for lease in await asyncio.gather(*(world.queue.claim("w") for _ in range(8))) if lease]
            assert len(leases) == 1
            await outcomes.fail(world.database, leases[0], Problem(code="corrupt", detail="x"))
        assert await world.queue.claim("w") is None

    run(body)


def test_the_schema_would_not_have_it_otherwise(run):
    """Workers of an older version claim without any lock."""

    async def body(world):
        await _submit(world, "a", *ALIKE[:2])
        with pytest.raises(IntegrityError, match="ix_job_running"):
            await world.change("UPDATE job SET state = 'running'")

    run(body)
