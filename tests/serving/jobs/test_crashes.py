"""A process that dies before or after any durable write loses nothing and does nothing twice."""

import asyncio
import json
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from sqlalchemy import text

from pipeline.synthesis import Encoding, write_video
from serving.db import embedded, failpoints
from serving.db.accounts import Tenant
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.db.work import Endpoint
from tests.formats.chart import moments

ROOT = Path(__file__).parents[3]

#: Points on the path of a job from its upload to what is told about it: what `story` comes past.
ON_THE_WAY = [
    f"{name}:{moment}"
    for name in (
        "object.put",
        "upload.complete",
        "job.submit",
        "job.claim",
        "job.renew",
        "job.checkpoint",
        "job.progress",
        "job.succeed",
        "job.reap",
    )
    for moment in ("before", "after")
]

#: Some are passed more than once.
LATER = ["job.checkpoint:before:2", "job.checkpoint:after:2", "job.renew:before:2", "job.renew:after:2"]


@pytest.fixture(scope="module")
def crasher(server, tmp_path_factory):
    """Runs the story in a database, dying at a point; how it ended."""
    folder = tmp_path_factory.mktemp("crashing")
    write_video(folder / "film.mp4", moments(60), fps=12, encoding=Encoding(gop=6))
    command = (sys.executable, "-m", "tests.serving.jobs.crashing", server, str(folder))
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def run(name: str, point: str = "") -> int:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{name} {point}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield run
        assert process.stdin is not None
        process.stdin.close()


def _prepared(server: str, name: str) -> None:
    embedded.copied(server, name)

    async def make() -> None:
        database = Database(embedded.named(server, name))
        async with database.write("tenant.create", SYSTEM) as session:
            session.add(Tenant(id="a", name="a"))
            await session.flush()
            session.add(Endpoint(id="whk_1", tenant_id="a", url="https://example.com", secret="whsec_x"))
        await database.close()

    asyncio.run(make())


def _left(server: str, name: str) -> dict[str, list]:
    """All that is in the database in the end, but for what is different every time."""

    async def look() -> dict[str, list]:
        database = Database(embedded.named(server, name))
        queries = {
            "videos": "SELECT title, status, size_bytes, sha256, duration_s, width, height, codec FROM video",
            "jobs": "SELECT state, spec, error, worker FROM job",
            "messages": "SELECT type FROM webhook_message",
            "deliveries": "SELECT state FROM webhook_delivery",
            "tags": "SELECT label, round(score::numeric, 4)::text FROM video_tag ORDER BY label",
            "checkpoints": "SELECT clip FROM checkpoint",
            "numbers": "SELECT count(*) = max(number), min(number) FROM event",
            "endings": "SELECT kind FROM event WHERE kind IN ('succeeded', 'failed', 'canceled')",
        }
        found = {}
        async with database.read(SYSTEM) as session:
            for what, query in queries.items():
                found[what] = [tuple(row) for row in (await execute(session, text(query))).all()]
            bodies = (await execute(session, text("SELECT body FROM report"))).all()
        await database.close()
        found["reports"] = []
        for (body,) in bodies:
            report = json.loads(zlib.decompress(body))
            # How long it took is no result.
            del report["timings"]
            found["reports"].append(report)
        return found

    return asyncio.run(look())


@pytest.fixture(scope="module")
def undisturbed(server, crasher):
    """What is left when nobody dies."""
    _prepared(server, "undisturbed")
    assert crasher("undisturbed") == 0
    left = _left(server, "undisturbed")
    assert len(left["reports"]) == 1
    assert left["jobs"][0][0] == "succeeded"
    assert (left["checkpoints"], left["numbers"], left["endings"]) == ([], [(True, 1)], [("succeeded",)])
    assert len(left["deliveries"]) == 1
    return left


def test_the_points_are_listed_by_the_code():
    assert len(failpoints.points()) >= 40
    assert {point.rpartition(":")[0] + ":" + point.rpartition(":")[2] for point in ON_THE_WAY} <= set(
        failpoints.points()
    )


@pytest.mark.slow
@pytest.mark.parametrize("point", ON_THE_WAY + LATER)
def test_dying_there_changes_nothing(server, crasher, undisturbed, point):
    name = "dies_" + "".join(letter if letter.isalnum() else "_" for letter in point)
    _prepared(server, name)
    assert crasher(name, point) == failpoints.EXIT, "nobody came past it"
    assert crasher(name) == 0
    left = _left(server, name)
    assert left == undisturbed
