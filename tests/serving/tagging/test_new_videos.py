"""Videos whose vectors are new, where the model that reads texts is away, or another one by now."""

from types import SimpleNamespace

from pipeline.errors import EngineUnavailable
from serving.tagging.learner import Learner
from serving.tagging.tagger import Tagger
from tests.serving.search.conftest import OneToolkit
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
        there = tagger(api, OneToolkit(toolkit))
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
