"""Vocabularies that stand for a library: over HTTP, with a worker and the bundled model's vectors."""

import asyncio

from tests.serving.search.conftest import analysed, found, worked
from tests.serving.tagging.conftest import SHAPES, applied, latest, library, made, names, over, settled, tagged, tags

FILMS = {
    "first": ("red circle", "blue square"),
    "second": ("green star",),
    "third": ("red square",),
}


def test_a_library_is_tagged_from_its_vectors_and_found_by_that(call, toolkit):
    async def body(api):
        ids = await library(api, toolkit, FILMS)
        async with tagged(api, toolkit):
            which = await made(api.a)
            answer = await api.a.post(f"/v1/vocabularies/{which}/apply")
            assert answer.headers["location"] == f"/v1/taggings/{answer.json()['id']}"
            done = await over(api.a, answer.json()["id"])
            assert (done["state"], done["total"], done["done"], done["decodes"]) == ("succeeded", 3, 3, 0)
            assert done["texts"] == 4
            assert (await api.a.get("/v1/vocabularies/shapes")).json()["applied_at"] is not None
            first = await tags(api.a, ids["first"])
            assert {(tag["kind"], tag["label"]) for tag in first} == {
                ("tag", "a circle"),
                ("tag", "a square"),
                ("category", "round"),
            }
            assert {(tag["vocabulary"], tag["vocabulary_id"]) for tag in first} == {("shapes", which)}
            (circle,) = [tag for tag in first if tag["label"] == "a circle"]
            assert circle["source"] == {"name": "bundled", "version": toolkit.encoder.info.space}
            assert [(one["start_s"], one["end_s"]) for one in circle["ranges"]] == [(0.0, 2.5)]
            # Of categories, how probable and for how much of the video.
            (round_,) = await tags(api.a, ids["first"], kind="category")
            assert (round_["score"], round_["coverage"]) == (circle["score"], circle["coverage"])
            assert await names(api.a, ids["second"]) == {"a star"}
            assert await names(api.a, ids["first"], vocabulary="other") == set()

            async def having(**asked) -> set[str]:
                return {video["id"] for video in (await api.a.get("/v1/videos", params=asked)).json()["data"]}

            assert await having(tag="a square") == {ids["first"], ids["third"]}
            assert await having(tag="round") == {ids["first"]}
            # By another name, too.
            assert await having(tag="disc") == {ids["first"]}
            assert await having(tag="a square", min_score=1.0) == set()

    call(body)


def test_searches_see_its_tags_and_other_names(call, toolkit, films):
    async def body(api):
        async with worked(api, toolkit), tagged(api, toolkit):
            ids = await analysed(api.a, films)
            labels = [{"name": "a circle", "aliases": ["frisbee zone"]}, {"name": "red"}]
            await applied(api.a, {"name": "mine", "labels": labels})
            for label in ("a circle", "frisbee zone"):
                page = await found(api.a, {"text": "a red object"}, where={"holds": label}, words=False)
                assert {one["video_id"] for one in page["data"]} == {ids["first"]}
            page = await found(api.a, {"text": "frisbee zone"}, group_by="videos")
            assert [one["video_id"] for one in page["data"]] == [ids["first"]]
            assert page["data"][0]["reasons"][-1]["about"] == "tag"
            assert "frisbee zone" not in page["data"][0]["tags"]
            # The same label of a report and of the vocabulary are both there, each its own.
            both = [tag for tag in await tags(api.a, ids["third"]) if (tag["label"], tag["kind"]) == ("red", "tag")]
            assert len(both) == len({tag["vocabulary"] for tag in both}) >= 1
            # What comes is tagged, with nobody asking.
            (film,) = (await analysed(api.b, {"third": films["third"]})).values()
            await settled(api)
            assert "mine" not in {tag["vocabulary"] for tag in await tags(api.b, film)}
            again = await api.a.post("/v1/videos", content=films["second"].read_bytes() + b"\0\0\0\x08free")
            await api.a.post("/v1/jobs", json={"video_id": again.json()["id"]})
            while (await api.a.get(f"/v1/videos/{again.json()['id']}")).json()["status"] != "analyzed":
                await asyncio.sleep(0.05)
            await settled(api)
            rows = await api.world.sql("SELECT 1 FROM found_tags WHERE video_id = :v", v=again.json()["id"])
            assert len(rows) == 1

    call(body)


def test_another_threshold_asks_no_model_and_writes_what_it_changes(call, toolkit):
    async def body(api):
        ids = await library(api, toolkit, FILMS)
        async with tagged(api, toolkit):
            which = await applied(api.a)
            labels = [{**label} for label in SHAPES["labels"]]
            labels[3]["threshold"] = 1.0
            put = await api.a.put(f"/v1/vocabularies/{which}", json={"name": "shapes", "labels": labels})
            assert put.status_code == 200
            run = await latest(api.a, vocabulary="shapes")
            assert (run["reason"], run["state"], run["done"]) == ("replaced", "succeeded", 3)
            assert (run["texts"], run["changed"], run["gained"], run["lost"]) == (0, 1, 0, 1)
            assert await names(api.a, ids["second"]) == set()
            # A new description is none of the library's business.
            await api.a.put(
                f"/v1/vocabularies/{which}", json={"name": "shapes", "labels": labels, "description": "new"}
            )
            assert len((await api.a.get("/v1/taggings")).json()["data"]) == 2
            # Another word is: one text is asked for.
            labels[3] |= {"threshold": 0.5, "prompts": ["a green star"]}
            await api.a.put(f"/v1/vocabularies/{which}", json={"name": "shapes", "labels": labels})
            run = await latest(api.a)
            assert (run["texts"], run["changed"]) == (1, 1)
            assert await names(api.a, ids["second"]) == {"a star"}
            # Another name is found at once it is there, and changes no score.
            before = await tags(api.a, ids["second"])
            labels[3]["aliases"] = ["asterisk"]
            await api.a.put(f"/v1/vocabularies/{which}", json={"name": "shapes", "labels": labels})
            assert (await latest(api.a))["changed"] == 1
            assert await tags(api.a, ids["second"]) == before
            seen = (await api.a.get("/v1/videos", params={"tag": "asterisk"})).json()["data"]
            assert [video["id"] for video in seen] == [ids["second"]]

    call(body)


def test_what_no_longer_stands_leaves_nothing(call, toolkit):
    async def body(api):
        ids = await library(api, toolkit, FILMS)
        counts = (
            "SELECT (SELECT count(*) FROM found_tags), (SELECT count(*) FROM video_tag), (SELECT count(*) FROM "
            "tag_span), (SELECT count(*) FROM lexeme WHERE left(source, 4) = 'tag:')"
        )
        async with tagged(api, toolkit):
            one = await applied(api.a)
            two = await applied(api.a, {"name": "more", "labels": [{"name": "a square"}]})
            both = tuple((await api.world.sql(counts))[0])
            assert (await api.a.delete(f"/v1/vocabularies/{one}/apply")).status_code == 204
            alone = tuple((await api.world.sql(counts))[0])
            assert all(0 < less < more for less, more in zip(alone, both, strict=True))
            assert {tag["vocabulary"] for tag in await tags(api.a, ids["third"])} == {"more"}
            assert (await api.a.delete(f"/v1/vocabularies/{two}")).status_code == 204
            assert tuple((await api.world.sql(counts))[0]) == (0, 0, 0, 0)
            # Once more, and the same again.
            await api.a.post(f"/v1/vocabularies/{one}/apply")
            assert (await latest(api.a))["state"] == "succeeded"
            assert await names(api.a, ids["third"]) == {"a square"}
            await api.a.delete(f"/v1/videos/{ids['third']}")
            assert (await api.world.sql("SELECT 1 FROM found_tags WHERE video_id = :v", v=ids["third"])) == []

    call(body)


def test_runs_are_told_canceled_and_refused(call, toolkit):
    async def body(api):
        await library(api, toolkit, FILMS)
        which = await made(api.a)
        # Nobody works: it waits, and a second one is in its place.
        first = (await api.a.post("/v1/vocabularies/shapes/apply")).json()
        assert (first["state"], first["total"]) == ("queued", None)
        second = (await api.a.post(f"/v1/vocabularies/{which}/apply")).json()
        assert (await api.a.get(f"/v1/taggings/{first['id']}")).json()["state"] == "canceled"
        page = (await api.a.get("/v1/taggings", params={"limit": 1})).json()
        assert [run["id"] for run in page["data"]] == [second["id"]]
        rest = (await api.a.get("/v1/taggings", params={"limit": 1, "cursor": page["next_cursor"]})).json()
        assert [run["id"] for run in rest["data"]] == [first["id"]]
        assert (await api.a.post(f"/v1/taggings/{second['id']}/cancel")).json()["state"] == "canceled"
        assert (await api.a.get("/v1/taggings", params={"state": "queued"})).json()["data"] == []
        async with tagged(api, toolkit):
            await settled(api)
        assert (await api.world.sql("SELECT count(*) FROM tagging WHERE state = 'canceled'"))[0][0] == 2
        built_in = await api.a.post("/v1/vocabularies/general/apply")
        assert (built_in.status_code, built_in.json()["code"]) == (409, "conflict")
        # An empty library is tagged at once.
        async with tagged(api, toolkit):
            await api.b.post("/v1/vocabularies", json=SHAPES)
            run = (await api.b.post("/v1/vocabularies/shapes/apply")).json()
            done = await over(api.b, run["id"])
            assert (done["state"], done["done"]) == ("succeeded", 0)

    call(body)
