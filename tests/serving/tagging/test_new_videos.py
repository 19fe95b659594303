"""Videos whose vectors are new, where the model that reads texts is away, or another one by now."""

from types import SimpleNamespace

from pipeline.errors import EngineUnavailable
from pipeline.spec import Label
from serving.db.database import SYSTEM
from serving.db.tagging import LearnedLabel
from serving.ids import new_id
from serving.tagging.learner import Learner
from serving.tagging.standing import basis_of
from serving.tagging.tagger import Tagger
from tests.serving.search.conftest import Fixed
from tests.serving.tagging.conftest import library, made, names

FILMS = {"first": ("red circle",)}


class Away:
    """No engine answers."""

    async def get(self, model: str, also: object = ()):
        """See `Toolkits.get`."""
        raise EngineUnavailable("away")


class Another:
    """The model was replaced by one of another space."""

    async def get(self, model: str, also: object = ()):
        """See `Toolkits.get`."""
        return SimpleNamespace(encoder=SimpleNamespace(info=SimpleNamespace(space="other")))


def tagger(api, toolkits) -> Tagger:
    """One that is told what to do step by step."""
    return Tagger(api.world.database, toolkits, learner=Learner(api.world.database, toolkits))


def test_runs_and_videos_wait_for_a_model_that_is_away(call, toolkit):
    async def body(api):
        ids = await library(api, toolkit, FILMS)
        await made(api.a)
        run = (await api.a.post("/v1/vocabularies/shapes/apply")).json()
        away = tagger(api, Away())
        assert await away.step()
        assert await away.step()
        assert not await away.step()
        waits = (await api.a.get(f"/v1/taggings/{run['id']}")).json()
        assert (waits["state"], waits["done"]) == ("queued", 0)
        assert (await api.world.sql("SELECT attempt FROM tagging"))[0][0] == 0
        assert (await api.world.sql("SELECT run_after > now() FROM untagged"))[0][0]
        for table in ("tagging", "untagged"):
            await api.world.change(f"UPDATE {table} SET run_after = now()")
        there = tagger(api, Fixed(toolkit))
        while await there.step():
            pass
        assert (await api.a.get(f"/v1/taggings/{run['id']}")).json()["state"] == "succeeded"
        assert await names(api.a, ids["first"]) == {"a circle", "round"}
        assert await api.world.sql("SELECT 1 FROM untagged") == []

    call(body)


def test_a_run_whose_model_is_another_one_fails_and_says_so(call, toolkit):
    async def body(api):
        await library(api, toolkit, FILMS)
        await made(api.a)
        run = (await api.a.post("/v1/vocabularies/shapes/apply")).json()
        other = tagger(api, Another())
        while await other.step():
            pass
        failed = (await api.a.get(f"/v1/taggings/{run['id']}")).json()
        assert (failed["state"], failed["error"]["code"]) == ("failed", "space_mismatch")
        assert "analyse the videos again" in failed["error"]["detail"]

    call(body)


def test_a_vocabulary_that_cannot_be_looked_for_costs_nobody_else_anything(call, toolkit):
    async def body(api):
        for client, tenant in ((api.a, "a"), (api.b, "b")):
            await made(client)
            await client.post("/v1/vocabularies/shapes/apply")
            await library(api, toolkit, {"before": ("green star",)}, tenant)
        await made(api.a, {"name": "broken", "labels": [{"name": "blue"}]})
        broken = (await api.a.post("/v1/vocabularies/broken/apply")).json()["vocabulary_id"]
        there = tagger(api, Fixed(toolkit))
        while await there.step():
            pass
        await _learn_nonsense(api, broken)
        mine = await library(api, toolkit, FILMS)
        theirs = await library(api, toolkit, FILMS, "b")
        while await there.step():
            pass
        assert await names(api.a, mine["first"]) == {"a circle", "round"}
        assert await names(api.b, theirs["first"]) == {"a circle", "round"}
        waits = "SELECT video_id, extract(epoch FROM run_after - now()) FROM untagged"
        ((video, first_s),) = await api.world.sql(waits)
        assert (video, first_s > 0) == (mine["first"], True)
        # The longer, the more often it went wrong.
        await api.world.change("UPDATE untagged SET run_after = now()")
        assert await there.step()
        assert not await there.step()
        assert (await api.world.sql(waits))[0][1] > 1.5 * float(first_s)

    call(body)


async def _learn_nonsense(api, vocabulary: str) -> None:
    """What holds for its label is a head that nobody can read."""
    more = {"space": "", "basis": basis_of(Label(name="blue")), "threshold": 0.5, "accepted": 1, "rejected": 1}
    more["space"] = (await api.world.sql("SELECT space FROM space WHERE tenant_id = 'a'"))[0][0]
    row = LearnedLabel(
        id=new_id("lrn"), tenant_id="a", vocabulary_id=vocabulary, label="blue", number=1, kind="head", head=b"none",
        before={}, after={}, **more,
    )  # fmt: skip
    async with api.world.database.write("learning.done", SYSTEM) as session:
        session.add(row)
