"""Tenants with the same vocabulary never tag, correct or teach each other: by every query, and by the database where a
query forgets."""

import pytest

from tests.serving.api.unscoped import unscoped
from tests.serving.tagging.conftest import applied, latest, library, settled, tagged, tags
from tests.serving.tagging.test_learning import FILMS, TAUGHT, WARM, WARM_ONES, everything, said


@pytest.mark.parametrize("scoped", [True, False])
def test_what_one_says_and_learns_is_theirs(call, toolkit, scoped):
    async def body(api):
        mine, theirs = await library(api, toolkit, FILMS), await library(api, toolkit, FILMS, "b")
        async with tagged(api, toolkit):
            for client in (api.a, api.b):
                await applied(client, WARM)
            before = await everything(api.b, theirs)
            correction = await said(api.a, mine["red circle"], "rejected")
            for title in TAUGHT:
                await said(api.a, mine[title], "accepted" if title.split()[0] in WARM_ONES else "rejected")
            await settled(api)
            run = await latest(api.a)
        if scoped:
            await _apart(api, mine, theirs, before, run["id"], correction["id"])
            return
        with unscoped() as rewritten:
            await _apart(api, mine, theirs, before, run["id"], correction["id"])
        assert {"tagging", "correction", "learning", "learned_label", "found_tags"} <= rewritten.tables

    call(body)


async def _apart(api, mine: dict, theirs: dict, before: dict, run: str, correction: str) -> None:
    assert await everything(api.b, theirs) == before
    assert len((await api.b.get("/v1/taggings")).json()["data"]) == 1
    assert (await api.b.get("/v1/corrections")).json()["data"] == []
    assert (await api.b.get("/v1/vocabularies/moods/learned")).json()["data"] == []
    assert (await api.b.get("/v1/vocabularies/moods/learning")).json() == []
    assert len((await api.a.get("/v1/vocabularies/moods/learned")).json()["data"]) >= 1
    vocabulary = (await api.a.get("/v1/vocabularies/moods")).json()["id"]
    for method, path, body in (
        ("GET", f"/v1/taggings/{run}", None),
        ("POST", f"/v1/taggings/{run}/cancel", None),
        ("DELETE", f"/v1/corrections/{correction}", None),
        ("POST", f"/v1/vocabularies/{vocabulary}/apply", None),
        ("DELETE", f"/v1/vocabularies/{vocabulary}/apply", None),
        ("GET", f"/v1/vocabularies/{vocabulary}/learned", None),
        ("GET", f"/v1/vocabularies/{vocabulary}/learning", None),
        ("POST", f"/v1/vocabularies/{vocabulary}/learning", {"label": "warm"}),
        ("POST", f"/v1/vocabularies/{vocabulary}/learned/undo", {"label": "warm"}),
        ("GET", f"/v1/videos/{mine['red circle']}/tags", None),
    ):
        answer = await api.b.request(method, path, json=body)
        assert answer.status_code == 404, (method, path, answer.text)
    assert await tags(api.b, theirs["orange star"]) == before["orange star"]
