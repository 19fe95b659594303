"""A worker that dies before or after any durable write of tagging and learning loses nothing, nor does it twice."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from serving.db import failpoints
from tests.serving.tagging.conftest import library, made, tags
from tests.serving.tagging.test_learning import FILMS, TAUGHT, WARM, WARM_ONES, said

ROOT = Path(__file__).parents[3]

#: In the order in which a worker comes past them; pages more than once.
POINTS = [
    f"{name}:{moment}"
    for name in ("tagging.phrases", "tagging.new", "tagging.claim", "learning.claim", "learning.done")
    for moment in ("before", "after")
] + ["tagging.page:before:2", "tagging.page:after:2", "tagging.page:before:4", "tagging.page:after:7"]


@pytest.fixture(scope="module")
def worker():
    """Has a worker work on a database, dying at a point; what it exits with."""
    command = (sys.executable, "-m", "tests.serving.tagging.dying")
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def run(url: str, point: str = "") -> int:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{url} {point}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield run
        assert process.stdin is not None
        process.stdin.close()


async def left(api, ids: dict[str, str]) -> dict:
    """What is there in the end."""
    return {
        "tags": {
            title: [tag | {"vocabulary_id": ""} for tag in await tags(api.a, video)] for title, video in ids.items()
        },
        "runs": [
            tuple(row) for row in await api.world.sql("SELECT reason, state, done, total FROM tagging ORDER BY id")
        ],
        "learned": [
            tuple(row) for row in await api.world.sql("SELECT label, number, kind, threshold FROM learned_label")
        ],
        "spans": len(await api.world.sql("SELECT 1 FROM tag_span")),
    }


async def prepared(api, toolkit) -> dict[str, str]:
    """A library with a vocabulary, and all that is said of it, before anybody works."""
    ids = await library(api, toolkit, FILMS)
    which = await made(api.a, WARM)
    await api.a.post(f"/v1/vocabularies/{which}/apply")
    for title in TAUGHT:
        await said(api.a, ids[title], "accepted" if title.split()[0] in WARM_ONES else "rejected")
    return ids


@pytest.fixture(scope="module")
def undisturbed() -> dict:
    """What is left where nobody dies: found by the first test."""
    return {}


@pytest.mark.slow
@pytest.mark.parametrize("point", ["", *POINTS])
def test_dying_there_changes_nothing(call, toolkit, worker, undisturbed, point):
    async def body(api):
        ids, url = await prepared(api, toolkit), api.world.database.url
        if point:
            assert await asyncio.to_thread(worker, url, point) == failpoints.EXIT, "nobody came past it"
        assert await asyncio.to_thread(worker, url) == 0
        found = await left(api, ids)
        # Where the first worker died with the run in its hands, what was learnt meanwhile began another in its place.
        assert found.pop("runs")[-1] == ("learned", "succeeded", 32, 32)
        assert [row[0] for row in found["learned"]] == ["warm"]
        if not undisturbed:
            undisturbed.update(found)
        assert found == undisturbed

    call(body)
