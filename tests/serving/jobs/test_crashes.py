"""A process that dies before or after any durable write loses nothing and does nothing twice."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy import text

from pipeline.synthesis import Encoding, write_video
from serving.auth import opaque
from serving.auth.principals import SCOPES
from serving.db import embedded, failpoints
from serving.db.accounts import ApiKey, Tenant
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.db.work import Endpoint
from serving.storage import reports
from tests.formats.chart import moments
from tests.serving.jobs import changing
from tests.serving.sealing import keyring

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
        "job.measure",
        "job.checkpoint",
        "job.progress",
        "job.succeed",
        "job.reap",
    )
    for moment in ("before", "after")
]

#: Some are passed more than once.
LATER = ["job.checkpoint:before:2", "job.checkpoint:after:2", "job.renew:before:2", "job.renew:after:2"]


#: What the story of `changing` comes past besides.
CHANGES = [
    f"{name}:{moment}"
    for name in (
        "video.write",
        "video.delete",
        "object.delete",
        "job.submit",
        "job.cancel",
        "job.retry",
        "job.fail",
        "job.release",
        "job.canceled",
    )
    for moment in ("before", "after")
] + ["job.fail:before:2", "job.fail:after:2"]

#: Writes that are on the way of no job and no video, and where it is tested what comes of a death there; or why not.
ELSEWHERE = {
    **dict.fromkeys(("upload.create", "upload.append", "upload.end"), "tests/serving/uploads/test_crashes.py"),
    **dict.fromkeys(("fetch.claim", "fetch.renew", "fetch.retry"), "tests/serving/fetching/test_dying.py"),
    **dict.fromkeys(("delivery.claim", "delivery.done"), "tests/serving/webhooks/test_dying.py"),
    **dict.fromkeys(("copies.claim", "copies.renew", "copies.done"), "tests/serving/copies/test_dying.py"),
    **dict.fromkeys(("clean.expired", "clean.old"), "deletes what is over, and looks again the next time"),
    **dict.fromkeys(("worker.beat", "worker.leave"), "says who is there; one that is not is forgotten"),
    **dict.fromkeys(
        ("session.create", "session.refresh", "session.reused", "session.end", "user.write"), "one row of one person"
    ),
    **dict.fromkeys(("tenant.create", "tenant.quota"), "one row, by an operator who sees what came of it"),
    **dict.fromkeys(("key.create", "key.revoke"), "one row; a key that nobody was shown is nobody's"),
    **dict.fromkeys(("webhook.write", "vocabulary.write"), "one row, which its owner reads and writes"),
    "derived.write": "made anew, by whoever asks for it next",
    "search.catch_up": "looks again the next time",
    **dict.fromkeys(
        ("rendition.write", "rendition.claim", "rendition.renew", "rendition.done"),
        "tests/serving/playback/test_renditions.py",
    ),
    **dict.fromkeys(
        ("space.claim", "space.renew", "space.fill", "space.later"), "tests/serving/search/test_change_of_models.py"
    ),
    **dict.fromkeys(("space.lack", "space.removed"), "looks again the next time"),
    **dict.fromkeys(("space.write", "url.revoke"), "one row, which its owner reads and writes"),
    **dict.fromkeys(
        ("tagging.claim", "tagging.page", "tagging.new", "tagging.phrases", "learning.claim", "learning.done"),
        "tests/serving/tagging/test_dying.py",
    ),
    **dict.fromkeys(("tagging.write", "correction.write"), "one thing of its owner, who says it again"),
    **dict.fromkeys(("hold.write", "retention.write"), "one row, which its owner reads and writes"),
    "erasure.finish": "tests/serving/rights/test_erasing.py: whoever comes next finishes it",
    "archive.import": "a video at a time; what was not imported is, when the archive is sent again",
    "question.write": "lives for seconds; whoever asked is told to ask again",
    "keys.rotate": "tests/serving/storage/test_rotating.py",
    "storage.seal": "tests/serving/storage/test_old_objects.py",
    "audit.link": "tests/serving/audit/test_linking.py",
    "audit.key": "one row; whoever needs it next makes it",
    "audit.reads": "who is answered waits for it, and asks again",
    "audit.keys": "uses of the last second are lost with the process that used them",
    "audit.refusals": "refusals of the last second are lost with the process that counted them",
}


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
            digest = opaque.digest(changing.SECRET, changing.KEY)
            session.add(ApiKey(id="key_1", tenant_id="a", name="k", hint="aut", digest=digest, scopes=sorted(SCOPES)))
        await database.close()

    asyncio.run(make())


def _left(server: str, name: str) -> dict[str, list]:
    """All that is in the database in the end, but for what is different every time."""

    async def look() -> dict[str, list]:
        database = Database(embedded.named(server, name))
        queries = {
            "videos": "SELECT title, status, size_bytes, sha256, duration_s, width, height, codec FROM video",
            "jobs": "SELECT state, spec, error, worker FROM job ORDER BY created_at, id",
            "messages": "SELECT type FROM webhook_message ORDER BY type",
            "deliveries": "SELECT state FROM webhook_delivery",
            "tags": "SELECT label, round(score::numeric, 4)::text FROM video_tag ORDER BY label",
            "checkpoints": "SELECT clip FROM checkpoint",
            "looks": "SELECT position, pts_s, vector::text FROM look ORDER BY video_id, position",
            "copies": "SELECT state, blank_s FROM video_looks",
            "numbers": "SELECT DISTINCT count(*) = max(number), min(number) FROM event GROUP BY job_id",
            "endings": "SELECT job_id LIKE 'job_%', kind, count(*) FROM event JOIN job ON job.id = job_id "
            "WHERE kind IN ('succeeded', 'failed', 'canceled') GROUP BY 1, 2, job.created_at, job_id "
            "ORDER BY job.created_at, job_id, kind",
        }
        found = {}
        async with database.read(SYSTEM) as session:
            for what, query in queries.items():
                found[what] = [tuple(row) for row in (await execute(session, text(query))).all()]
            jobs = (await execute(session, text("SELECT job_id FROM report"))).scalars().all()
            kept = [await reports.of_job(session, keyring(), "a", job) for job in jobs]
        await database.close()
        found["reports"] = []
        for one in kept:
            assert one is not None
            report = json.loads(one.json())
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
    assert (left["checkpoints"], left["numbers"], left["endings"]) == ([], [(True, 1)], [(True, "succeeded", 1)])
    assert len(left["deliveries"]) == 1
    assert len(left["looks"]) > 10
    assert [state for state, _ in left["copies"]] == ["due"]
    return left


def test_the_points_are_listed_by_the_code():
    assert len(failpoints.points()) >= 40
    assert {point.rpartition(":")[0] + ":" + point.rpartition(":")[2] for point in ON_THE_WAY} <= set(
        failpoints.points()
    )


def test_every_write_is_in_some_story_or_has_a_reason_not_to_be():
    told = {point.split(":")[0] for point in ON_THE_WAY + CHANGES}
    names = {*get_args(failpoints.Write), *get_args(failpoints.Stored)}
    assert names - told - set(ELSEWHERE) == set(), "nobody dies there: add it to a story, or say why not"
    assert told & set(ELSEWHERE) == set()
    assert set(ELSEWHERE) <= names, "it is gone"
    for name in told:
        assert {f"{name}:before", f"{name}:after"} <= set(ON_THE_WAY + CHANGES)


@pytest.mark.slow
@pytest.mark.parametrize("point", ON_THE_WAY + LATER)
def test_dying_there_changes_nothing(server, crasher, undisturbed, point):
    name = "dies_" + "".join(letter if letter.isalnum() else "_" for letter in point)
    _prepared(server, name)
    assert crasher(name, point) == failpoints.EXIT, "nobody came past it"
    assert crasher(name) == 0
    left = _left(server, name)
    assert left == undisturbed


@pytest.fixture(scope="module")
def unchanged(server, crasher):
    """What is left of the other story when nobody dies."""
    _prepared(server, "changes_undisturbed")
    assert crasher("changes_undisturbed") == 0
    left = _left(server, "changes_undisturbed")
    assert [video[:2] for video in left["videos"]] == [("Film", "failed")]
    assert [job[0] for job in left["jobs"]] == ["failed", "canceled", "failed"]
    assert {job[2]["code"] for job in left["jobs"] if job[2]} == {"model_unavailable"}
    assert left["messages"] == [("job.canceled",)] * 2 + [("job.failed",)] * 2
    return left


@pytest.mark.slow
@pytest.mark.parametrize("point", CHANGES)
def test_dying_while_things_change_changes_nothing(server, crasher, unchanged, point):
    name = "changes_" + "".join(letter if letter.isalnum() else "_" for letter in point)
    _prepared(server, name)
    assert crasher(name, point) == failpoints.EXIT, "nobody came past it"
    assert crasher(name) == 0
    assert _left(server, name) == unchanged
