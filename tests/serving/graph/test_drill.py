"""The short form of `make drill`: a real server and its graph, of which an engine and a worker are killed at work."""

import asyncio
import tempfile
from pathlib import Path

import httpx
import pytest

from serving.db.work import Event
from serving.jobs import submission
from serving.jobs.submission import JobRequest
from tests.serving.graph.drill import Plan
from tests.serving.graph.drill import run as drilled
from tests.serving.graph.drill_count import Blow, outcome
from tests.serving.graph.drill_load import Failure, Load, Posted
from tests.serving.graph.drill_server import serving
from tests.serving.jobs.conftest import run, specs, url

__all__ = ["run", "url"]


def test_what_is_lost_or_done_twice_is_counted(run):
    """One job is left, one failed, one succeeded twice, one has a gap in its events, one is as it has to be."""
    ends = ((), ("failed",), ("succeeded",) * 2, ("", "succeeded"), ("succeeded",))
    blow = Blow("engine", "engine", at=10.0, running=1, until=20.0, job_s=1.0, text_s=2.0, back_s=3.0)

    async def test(world):
        async with httpx.AsyncClient() as client:
            load = Load(client)
            for number, (spec, kinds) in enumerate(zip(specs(len(ends)), ends, strict=True)):
                made = await submission.submit(world.database, "a", [JobRequest(video_id="vid_a", spec=spec)])
                job = made[0].job
                load.jobs.append(Posted(job.id, number, 0, posted_at=float(5 * number), ended_at=5.0 * number + 7))
                for place, kind in enumerate(kinds):
                    await happened(world, job.id, place + 2, kind)
            load.failures.append(Failure(15.0, "GET /livez", "503"))
            found = await outcome(load, [blow], world.database, ["something is left"])
        assert (found.lost, found.duplicated, found.api_failures) == (2, 2, 1)
        (row,) = found.rows
        assert (row.recovery_worst_s, row.whole_worst_s, row.api_failures) == (1.0, 3.0, 1)
        # What is posted at 0 is over before the blow.
        assert (row.struck, row.lost, row.duplicated) == (2, 1, 2)
        words = [line.split(":")[0] for line in found.wrong]
        assert words == ["something is left", "lost", "lost", "not once", "not once", "the API"]

    run(test)


async def happened(world, job: str, number: int, kind: str) -> None:
    """Have a job's event of this number say so, and all that there is with it; nothing for an empty `kind`."""
    if not kind:
        return
    async with world.database.write("clean.expired", "a") as session:
        session.add(Event(tenant_id="a", job_id=job, number=number, kind=kind, data={}))
    await world.change("UPDATE job SET state = :state WHERE id = :job", state=kind, job=job)
    if kind == "succeeded":
        await world.change(
            "INSERT INTO report (job_id, tenant_id, video_id, feature_key, body)"
            " VALUES (:job, 'a', 'vid_a', '', '') ON CONFLICT DO NOTHING",
            job=job,
        )


@pytest.mark.drill
def test_nothing_is_lost_or_done_twice_when_an_engine_and_a_worker_are_killed():
    # Short, for sockets lie deep in it.
    with tempfile.TemporaryDirectory(prefix="drill-") as folder, serving(Path(folder)) as server:
        found = asyncio.run(drilled(Plan(times=1, kinds=("engine", "worker")), server, Path(folder)))
    assert found.wrong == []
    assert [(row.kind, row.times) for row in found.rows] == [("engine", 1), ("worker", 1)]
    assert all(row.struck for row in found.rows)
    assert found.api_requests > 0
