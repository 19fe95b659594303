"""What was learnt beside runs, other names, and videos of which nothing but what was said is known: step by step."""

import asyncio

from sqlalchemy import text

from serving.db.database import SYSTEM
from serving.db.media import Video
from serving.db.statements import execute
from serving.db.tagging import LearnedLabel
from serving.db.vocabularies import Vocabulary
from serving.ids import new_id
from serving.tagging import runs
from serving.tagging.deriving import labels_of
from serving.tagging.learner import Learner
from serving.tagging.standing import basis_of
from serving.tagging.tagger import Tagger
from tests.serving.search.conftest import Fixed
from tests.serving.tagging.conftest import library, made, names
from tests.serving.tagging.test_learning import FILMS as MANY
from tests.serving.tagging.test_learning import WARM, said

FILMS = {"first": ("blue square",), "second": ("red circle",)}

NONE = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "accuracy": 0.0}


class Steps:
    """A worker that does what it is told to."""

    def __init__(self, api, toolkit) -> None:
        toolkits = Fixed(toolkit)
        self.tagger = Tagger(api.world.database, toolkits, learner=Learner(api.world.database, toolkits, quiet_s=0.0))

    async def all(self) -> None:
        """Until there is nothing to do."""
        while await self.tagger.step():
            pass


async def stands(api, steps: Steps) -> str:
    """A vocabulary that the library is tagged by; its id."""
    # Videos that come are tagged first, and here there is nothing yet to tag them by.
    await steps.all()
    which = await made(api.a, WARM)
    await api.a.post(f"/v1/vocabularies/{which}/apply")
    await steps.all()
    return which


async def learn(api, which: str, threshold: float = 0.999999) -> str:
    """Have it be learnt that nearly nothing is blue, and begin the run that follows; id of what was learnt."""
    async with api.world.database.write("learning.done", SYSTEM) as session:
        row = await session.get_one(Vocabulary, which)
        (blue,) = [label for label in labels_of(row) if label.name == "blue"]
        space = (await execute(session, text("SELECT space FROM space WHERE tenant_id = 'a'"))).scalar_one()
        name = new_id("lrn")
        session.add(
            LearnedLabel(
                id=name, tenant_id="a", vocabulary_id=which, label="blue", number=1, kind="threshold", space=space,
                basis=basis_of(blue), threshold=threshold, accepted=1, rejected=1, before=NONE, after=NONE,
            )
        )  # fmt: skip
        await session.flush()
        await runs.begin(session, "a", which, "learned")
    return name


def test_undoing_waits_for_a_page_that_notes_what_it_changed(call, toolkit):
    async def body(api):
        await library(api, toolkit, FILMS)
        which = await stands(api, Steps(api, toolkit))
        learnt = await learn(api, which)
        claim = await runs.claim(api.world.database, "worker", 60.0)
        assert claim is not None
        async with api.world.database.write("tagging.page", SYSTEM) as session:
            await runs.hold(session, claim)
            undoing = asyncio.create_task(api.a.post("/v1/vocabularies/moods/learned/undo", json={"label": "blue"}))
            waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
            while not await api.world.sql(waiting):
                await asyncio.sleep(0.01)
            await execute(session, text("UPDATE learned_label SET lost = 7 WHERE id = :id"), id=learnt)
        answer = await undoing
        assert (answer.status_code, answer.json()["standing"], answer.json()["lost"]) == (200, "undone", 7)

    call(body)


def test_what_changed_is_noted_of_the_run_that_was_begun_for_it_alone(call, toolkit):
    async def body(api):
        ids, steps = await library(api, toolkit, FILMS), Steps(api, toolkit)
        which = await stands(api, steps)
        (first,) = (await api.a.get("/v1/taggings")).json()["data"]
        # Both have a tag for the first time.
        assert (first["gained"], first["lost"]) == (2, 0)
        await learn(api, which)
        await steps.all()
        assert await names(api.a, ids["first"]) == set()

        async def noted() -> tuple[int, int]:
            (row,) = (await api.a.get("/v1/vocabularies/moods/learned")).json()["data"]
            return row["gained"], row["lost"]

        assert await noted() == (0, 1)
        # What another run changes of the label is not by what was learnt.
        await api.world.change("UPDATE found_tags SET tags = '[]', stamp = ''")
        await api.world.change("UPDATE learned_label SET threshold = 0.01")
        await api.a.post(f"/v1/vocabularies/{which}/apply")
        await steps.all()
        assert "blue" in await names(api.a, ids["first"])
        assert await noted() == (0, 1)

    call(body)


def test_a_label_of_another_name_keeps_what_was_learnt_and_learns_on(call, toolkit):
    async def body(api):
        ids, steps = await library(api, toolkit, FILMS), Steps(api, toolkit)
        which = await stands(api, steps)
        await learn(api, which)
        correction = await said(api.a, ids["second"], "rejected", "blue")
        await steps.all()
        azure = {"name": "azure", "prompts": ["blue"], "aliases": ["blue"]}

        async def renamed(**changes) -> None:
            labels = [WARM["labels"][0], azure | changes]
            answer = await api.a.put(f"/v1/vocabularies/{which}", json={"name": "moods", "labels": labels})
            assert answer.status_code == 200, answer.text
            await steps.all()

        await renamed()
        for name in ("azure", "blue"):
            asked = {"label": name}
            (row,) = (await api.a.get("/v1/vocabularies/moods/learned", params=asked)).json()["data"]
            assert row["standing"] == "holds"
        assert await names(api.a, ids["first"]) == set()
        # With another threshold it is learnt anew of what was said of its old name, by its new one.
        state = "SELECT count(*) FROM learning WHERE label = 'azure' AND state = 'done'"
        assert (await api.world.sql(state))[0][0] == 0
        await renamed(threshold=0.3)
        assert (await api.world.sql(state))[0][0] == 1
        assert "azure" in await names(api.a, ids["first"])
        # So it is where that is unsaid.
        await api.world.change("DELETE FROM learning")
        assert (await api.a.delete(f"/v1/corrections/{correction['id']}")).status_code == 204
        assert [tuple(row) for row in await api.world.sql("SELECT label, state FROM learning")] == [("azure", "due")]

    call(body)


def test_what_was_said_of_videos_without_vectors_holds_whenever_it_is_applied(call, toolkit):
    async def body(api):
        ids, steps = await library(api, toolkit, FILMS), Steps(api, toolkit)
        which = await made(api.a, WARM)
        bare = new_id("vid")
        async with api.world.database.write("video.write", SYSTEM) as session:
            more = {"size_bytes": 1, "sha256": bare, "object_key": bare, "duration_s": 9.0}
            session.add(Video(id=bare, tenant_id="a", title="bare", status="uploaded", **more))
        await said(api.a, bare, "accepted", "blue", start_s=1.0, end_s=2.0)
        await said(api.a, ids["second"], "accepted", "blue")
        for _ in range(2):
            await api.a.post(f"/v1/vocabularies/{which}/apply")
            await steps.all()
            (run, *_) = (await api.a.get("/v1/taggings")).json()["data"]
            assert (run["state"], run["done"], run["total"]) == ("succeeded", 3, 3)
            for video in (bare, ids["first"], ids["second"]):
                assert "blue" in await names(api.a, video)
            page = (await api.a.get("/v1/videos", params={"tag": "blue"})).json()["data"]
            assert {video["id"] for video in page} == {bare, *ids.values()}
            await api.a.delete(f"/v1/vocabularies/{which}/apply")
            assert (await api.a.get("/v1/videos", params={"tag": "blue"})).json()["data"] == []

    call(body)


def test_a_run_and_labels_that_are_due_take_turns(call, toolkit):
    async def body(api):
        ids, steps = await library(api, toolkit, MANY), Steps(api, toolkit)
        which = await stands(api, steps)
        await api.a.post(f"/v1/vocabularies/{which}/apply")

        async def far() -> tuple[str, int, str]:
            (run, *_) = (await api.a.get("/v1/taggings")).json()["data"]
            labels = (await api.a.get("/v1/vocabularies/moods/learning")).json()
            return run["state"], run["done"], labels[0]["state"]

        await steps.tagger.step()
        await said(api.a, ids["red circle"], "rejected")
        assert await far() == ("running", 25, "due")
        await steps.tagger.step()
        assert await far() == ("running", 25, "done")
        await steps.tagger.step()
        assert await far() == ("succeeded", 32, "done")

    call(body)
