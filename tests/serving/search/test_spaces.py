"""A change of models: a space is filled in the shadow while the other one answers, takes over, and gives back."""

import asyncio

import httpx
import pytest

from models import catalog
from serving.search.catching_up import catch_up
from serving.search.filling import Claim, Filler
from serving.search.spaces import remove_leaving
from tests.serving.search.conftest import Fixed, analysed, found, made_of, worked
from tests.serving.search.turned import turned as turned_folder

QUERY = {"text": "a red circle"}


@pytest.fixture(scope="session")
def turned(tmp_path_factory):
    """The bundled model, turned, and an engine."""
    folder = turned_folder(tmp_path_factory.mktemp("models") / "turned")
    with made_of(catalog.load(f"local-dir:{folder}").model) as made:
        yield made


async def _until(client: httpx.AsyncClient, space: str, **wanted) -> dict:
    """A space, once it is like that."""
    while True:
        answer = await client.get(f"/v1/spaces/{space}")
        assert answer.status_code == 200, answer.text
        if all(answer.json()[name] == value for name, value in wanted.items()):
            return answer.json()
        await asyncio.sleep(0.05)


def _seen(page: dict) -> list[tuple]:
    return [(one["title"], one["start_s"], one["end_s"], round(one["score"], 2)) for one in page["data"]]


def test_a_space_takes_over_and_gives_back(call, toolkit, turned, films):
    async def body(api):
        async with worked(api, Fixed(toolkit, turned=turned)):
            some = {title: films[title] for title in ("first", "second")}
            ids = await analysed(api.a, some)
            before = await found(api.a, QUERY)
            assert _seen(before)[0][0] == "first.mp4"
            (old,) = (await api.a.get("/v1/spaces")).json()
            assert (old["state"], old["coverage"], old["videos"]) == ("active", 1.0, 2)

            answer = await api.a.post("/v1/spaces", json={"model": "turned"})
            assert answer.status_code == 202, answer.text
            new = answer.json()["space"]
            assert new == turned.encoder.info.space != old["space"]
            assert answer.headers["location"] == f"/v1/spaces/{new}"
            shadow = await _until(api.a, new, coverage=1.0)
            assert (shadow["state"], shadow["videos"], shadow["library"]) == ("shadow", 2, 2)
            # Searches are answered as before, and the other one when it is named.
            assert (await found(api.a, QUERY)) == before
            named = await found(api.a, QUERY, space=new)
            assert named["space"] == new
            assert _seen(named) == _seen(before)

            # What is analysed meanwhile is in both.
            ids |= await analysed(api.a, {"third": films["third"]})
            await _until(api.a, new, videos=3)
            await _until(api.a, old["space"], videos=3)

            page = await found(api.a, QUERY, min_score=0.0, limit=1)
            switched = await api.a.post(f"/v1/spaces/{new}/activate", json={})
            assert switched.status_code == 200, switched.text
            assert switched.json()["state"] == "active"
            after = await found(api.a, QUERY)
            assert after["space"] == new
            assert _seen(after) == _seen(before)
            # A search that was begun in the other one goes on there.
            following = await found(api.a, QUERY, min_score=0.0, limit=1, cursor=page["next_cursor"])
            assert following["space"] == old["space"]
            segments = await found(api.a, {"segment": {"video_id": ids["first"], "index": 0}}, group_by="segments")
            assert segments["data"][0]["video_id"] == ids["first"]
            assert segments["space"] == new

            back = await api.a.post(f"/v1/spaces/{old['space']}/activate", json={})
            assert back.status_code == 200, back.text
            again = await found(api.a, QUERY)
            assert again["space"] == old["space"]
            assert _seen(again) == _seen(before)
            assert [one["state"] for one in (await api.a.get("/v1/spaces")).json()] == ["active", "shadow"]

    call(body)


def test_what_a_space_refuses(call, toolkit, turned, films):
    async def body(api):
        new = turned.encoder.info.space
        async with worked(api, Fixed(toolkit, turned=turned), filling=False):
            assert (await api.a.get("/v1/spaces")).json() == []
            nothing = await api.a.post("/v1/spaces", json={"model": "turned"})
            assert (nothing.status_code, nothing.json()["code"]) == (409, "conflict")
            await analysed(api.a, {"third": films["third"]})
            (old,) = (await api.a.get("/v1/spaces")).json()
            active = await api.a.post("/v1/spaces", json={"model": "bundled"})
            assert active.status_code == 409
            assert "answers" in active.json()["detail"]
            assert (await api.a.delete(f"/v1/spaces/{old['space']}")).status_code == 409
            assert (await api.a.post("/v1/spaces", json={"model": "turned"})).status_code == 202
            early = await api.a.post(f"/v1/spaces/{new}/activate", json={})
            assert (early.status_code, early.json()["code"]) == (409, "conflict")
            assert "0 of 1 videos" in early.json()["detail"]
        # By now the name gives vectors of another space: nothing is put into it, and it is said why.
        async with worked(api, Fixed(toolkit)):
            while (shown := (await api.a.get(f"/v1/spaces/{new}")).json())["error"] is None:
                await asyncio.sleep(0.05)
            assert "gives vectors of the space" in shown["error"]
            assert (shown["videos"], shown["given_up"]) == (0, 0)
            anyway = await api.a.post(f"/v1/spaces/{new}/activate", json={"least_coverage": 0.0})
            assert anyway.status_code == 200
            refused = await api.a.post("/v1/search", json={"query": [QUERY]})
            assert (refused.status_code, refused.json()["code"]) == (409, "space_mismatch")
            back = await api.a.post(f"/v1/spaces/{old['space']}/activate", json={})
            assert back.status_code == 200

            assert (await api.a.delete(f"/v1/spaces/{new}")).status_code == 204
            assert (await api.a.get(f"/v1/spaces/{new}")).json()["state"] == "leaving"
            assert (await api.a.post("/v1/search", json={"query": [QUERY], "space": new})).status_code == 404
            assert await remove_leaving(api.world.database) == 1
            assert (await api.a.get(f"/v1/spaces/{new}")).status_code == 404
            assert (await api.b.get("/v1/spaces")).json() == []
            assert (await found(api.a, QUERY, min_score=0.0))["data"]

    call(body)


def test_a_new_report_changes_segments_in_all_spaces(call, toolkit, turned, films):
    async def body(api):
        async with worked(api, Fixed(toolkit, turned=turned)):
            (video,) = (await analysed(api.a, {"first": films["first"]})).values()
            new = (await api.a.post("/v1/spaces", json={"model": "turned"})).json()["space"]
            await _until(api.a, new, coverage=1.0)
            spec = {"sampling": {"fps": 2.0}, "segments": {"max_segments": 1, "max_s": 2.0}}
            job = await api.a.post("/v1/jobs", json={"video_id": video, "spec": spec}, headers={"Prefer": "wait=60"})
            assert job.json()["state"] == "succeeded"
            pages = [
                await found(api.a, QUERY, group_by="segments", min_score=0.0, words=False, space=space)
                for space in (turned.encoder.info.space, toolkit.encoder.info.space)
            ]
            assert _seen(pages[0]) == _seen(pages[1])
            assert len(pages[0]["data"]) == 1

    call(body)


async def _claimed(filler: Filler, busy: tuple[str, ...] = ()) -> Claim:
    while not (claims := await filler.claim(1, busy)):
        await asyncio.sleep(0.02)
    return claims[0]


def test_a_video_whose_workers_die_is_given_up_and_tried_again_when_asked(call, toolkit, turned, films):
    async def body(api):
        toolkits = Fixed(toolkit, turned=turned)
        async with worked(api, toolkits, filling=False):
            for client in (api.a, api.b):
                await analysed(client, {"third": films["third"]})
                new = (await client.post("/v1/spaces", json={"model": "turned"})).json()["space"]
            # Of two tenants, one who is busy leaves it to the other.
            filler = Filler(api.world.database, api.store, toolkits, lease_s=0.05)
            assert (await _claimed(filler, ("a",))).tenant_id == "b"
            assert (await _claimed(filler, ("b",))).tenant_id == "a"
            for attempt in (2, 3, 4):
                assert (await _claimed(filler, ("b",))).attempt == attempt
            await filler.work(await _claimed(filler, ("b",)))
            shown = await _until(api.a, new, given_up=1)
            assert "heard of" in shown["error"]
            assert (await api.b.get(f"/v1/spaces/{new}")).json()["given_up"] == 0
            again = await api.a.post("/v1/spaces", json={"model": "turned"})
            assert again.json()["given_up"] == 0
            steady = Filler(api.world.database, api.store, toolkits)
            await steady.work(await _claimed(steady, ("b",)))
            assert (await _until(api.a, new, coverage=1.0))["error"] is None

    call(body)


def test_a_removed_space_does_not_come_back_by_itself(call, toolkit, turned, films):
    async def body(api):
        toolkits = Fixed(toolkit, turned=turned)
        async with worked(api, toolkits, filling=False):
            await analysed(api.a, {"third": films["third"]})
            (old,) = (await api.a.get("/v1/spaces")).json()
            new = (await api.a.post("/v1/spaces", json={"model": "turned"})).json()["space"]
            await api.a.post(f"/v1/spaces/{new}/activate", json={"least_coverage": 0.0})
            assert (await api.a.delete(f"/v1/spaces/{old['space']}")).status_code == 204
            assert await remove_leaving(api.world.database) == 1
            assert await catch_up(api.world.database, api.world.keyring, toolkits) == 0
            assert [one["space"] for one in (await api.a.get("/v1/spaces")).json()] == [new]
            # A job with its model brings it back.
            await analysed(api.a, {"second": films["second"]})
            states = {one["space"]: one["state"] for one in (await api.a.get("/v1/spaces")).json()}
            assert states == {new: "active", old["space"]: "side"}

    call(body)
