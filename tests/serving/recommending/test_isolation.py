"""Tenants with the same videos are recommended their own alone: by every query, and by the database where queries
forget. Likewise of copies."""

import pytest

from tests.serving.api.unscoped import unscoped
from tests.serving.copies import conftest as films
from tests.serving.copies.conftest import all_found, excerpt, film, finding
from tests.serving.recommending.conftest import call, name_of, put, url

__all__ = ["call", "url"]


@pytest.mark.parametrize("scoped", [True, False])
def test_the_same_videos_are_recommended_to_their_owners_only(call, planted, scoped):
    async def body(api):
        for tenant in ("a", "b"):
            await put(api.world.database, planted, tenant)
            await films.put(api.world.database, {1: film(1), 2: excerpt(film(1), 2, 18)}, tenant)
        async with finding(api.world.database):
            await all_found(api.world.database)
        if scoped:
            await _apart(api)
            return
        with unscoped() as rewritten:
            await _apart(api)
        assert {"segment_vector", "video_vector", "video_copy", "video_looks"} <= rewritten.tables
        assert any("FROM moment" in statement for statement in rewritten.statements)

    call(body)


async def _apart(api) -> None:
    for client, own, other in ((api.a, "a", "b"), (api.b, "b", "a")):
        prefix = f"vid_{own.upper()}"
        mine, theirs = name_of(1, 1, own), name_of(1, 1, other)
        seen = [
            await _ok(client.get(f"/v1/videos/{mine}/similar", params={"limit": 100})),
            await _ok(client.get(f"/v1/videos/{mine}/segments/0/similar", params={"limit": 100})),
        ]
        for kind in ("videos", "segments"):
            for liked in ([], [{"video_id": mine}], [{"moment": {"video_id": mine, "at_s": 1.0}}]):
                asked = {"liked": liked, "kind": kind, "limit": 100}
                seen.append(await _ok(client.post("/v1/recommendations", json=asked)))
            only = {"kind": kind, "where": {"video_ids": [theirs]}}
            assert (await _ok(client.post("/v1/recommendations", json=only)))["data"] == []
        for page in seen:
            named = [one["video_id"] for one in page["data"]]
            named += [other["item"]["video_id"] for one in page["data"] for other in one["stands_for"]]
            named += [one["item"]["video_id"] for one in page["left_out"]]
            assert named, "nothing was there to be seen"
            assert {name[:5] for name in named} == {prefix}
        pairs = (await _ok(client.get("/v1/copies")))["data"]
        pairs += (await _ok(client.get(f"/v1/videos/{films.name_of(1, own)}/copies")))["data"]
        assert len(pairs) == 2
        assert {one[side]["video_id"][:5] for one in pairs for side in ("first", "second")} == {prefix}
        for path in ("similar", "segments/0/similar", "copies"):
            assert (await client.get(f"/v1/videos/{theirs}/{path}")).status_code == 404
        for item in ({"video_id": theirs}, {"moment": {"video_id": theirs, "at_s": 1.0}}):
            answer = await client.post("/v1/recommendations", json={"liked": [item]})
            assert (answer.status_code, answer.json()["code"]) == (404, "not_in_space")


async def _ok(asking) -> dict:
    answer = await asking
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("scoped", [True, False])
def test_a_finder_looks_at_its_tenants_videos_alone(call, scoped):
    """`b` has what `a` has, and an excerpt of it: `a` has no copies."""

    async def body(api):
        await films.put(api.world.database, {1: film(1), 3: film(3)}, "a")
        await films.put(api.world.database, {1: film(1), 2: excerpt(film(1), 2, 18)}, "b")
        if scoped:
            await _all_found(api)
        else:
            with unscoped() as rewritten:
                await _all_found(api)
            assert {"look", "video_looks"} <= rewritten.tables
        found = await api.world.sql("SELECT tenant_id, first_id, second_id FROM video_copy")
        assert found == [("b", films.name_of(1, "b"), films.name_of(2, "b"))]

    call(body)


async def _all_found(api) -> None:
    async with finding(api.world.database):
        await all_found(api.world.database)
