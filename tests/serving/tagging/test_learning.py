"""What people say of tags holds, and is learnt from: over HTTP, with a worker and the bundled model's vectors."""

import asyncio

from tests.serving.tagging.conftest import applied, latest, library, names, settled, tagged, tags

#: A label whose words find a third of what it means.
WARM = {
    "name": "moods",
    "labels": [{"name": "warm", "prompts": ["a red object"], "aliases": ["cosy"], "parent": "mood"}, {"name": "blue"}],
}
COLORS = ("red", "orange", "yellow", "blue", "green", "gray", "purple", "white")
SHAPES = ("circle", "square", "star", "heart")
WARM_ONES = ("red", "orange", "yellow")

FILMS = {f"{color} {shape}": (f"{color} {shape}",) for color in COLORS for shape in SHAPES}

#: Said of these; the others are unseen.
TAUGHT = [title for title in FILMS if title.split()[1] in ("circle", "square", "heart")]


async def said(client, video: str, verdict: str, label: str = "warm", **more) -> dict:
    """A correction."""
    body = {"vocabulary": "moods", "label": label, "video_id": video, "verdict": verdict, **more}
    answer = await client.post("/v1/corrections", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def everything(client, ids: dict[str, str]) -> dict[str, list]:
    """The tags of all videos."""
    return {title: await tags(client, video) for title, video in ids.items()}


def test_what_was_said_is_so_at_once_and_for_good(call, toolkit):
    async def body(api):
        ids = await library(api, toolkit, {"red": ("red circle", "blue square"), "other": ("green star",)})
        async with tagged(api, toolkit):
            which = await applied(api.a, WARM)
            before = await everything(api.a, ids)
            assert {tag["label"] for tag in before["red"]} == {"warm", "mood", "blue"}
            # By another name, of a stretch: what is left of it begins behind.
            one = await said(api.a, ids["red"], "rejected", "cosy", start_s=0.0, end_s=1.0)
            assert (one["label"], one["end_s"], one["verdict"]) == ("warm", 1.0, "rejected")
            (warm,) = [tag for tag in await tags(api.a, ids["red"]) if tag["label"] == "warm"]
            assert [(span["start_s"], span["end_s"]) for span in warm["ranges"]] == [(1.0, 2.5)]
            # Of most of it: all of it goes, and the category with it, and it is no longer found.
            two = await said(api.a, ids["red"], "rejected", start_s=0.5, end_s=2.5)
            assert await names(api.a, ids["red"]) == {"blue"}
            assert (await api.a.get("/v1/videos", params={"tag": "warm"})).json()["data"] == []
            # Where nothing was found, somebody knows better.
            three = await said(api.a, ids["other"], "accepted", start_s=1.0, end_s=2.0)
            here = {(tag["kind"], tag["label"]): tag for tag in await tags(api.a, ids["other"])}
            warm = here["tag", "warm"]
            assert (warm["score"], warm["source"]["name"], warm["start_s"], warm["end_s"]) == (1.0, "corrected", 1, 2)
            assert here["category", "mood"]["score"] == 1.0
            for name in ("warm", "cosy", "mood"):
                assert [
                    video["id"] for video in (await api.a.get("/v1/videos", params={"tag": name})).json()["data"]
                ] == [ids["other"]]
            # The same again is the same; the other way round replaces it.
            assert (await said(api.a, ids["other"], "accepted", start_s=1.0, end_s=2.0))["id"] == three["id"]
            assert (await said(api.a, ids["other"], "rejected", start_s=1.0, end_s=2.0))["id"] == three["id"]
            assert await names(api.a, ids["other"]) == set()
            await said(api.a, ids["other"], "accepted", "mood")
            assert {(tag["label"], tag["score"]) for tag in await tags(api.a, ids["other"])} == {("mood", 1.0)}
            now = await everything(api.a, ids)
            await settled(api)
            await api.a.post(f"/v1/vocabularies/{which}/apply")
            assert (await latest(api.a))["changed"] == 0
            assert await everything(api.a, ids) == now
            listed = (await api.a.get("/v1/corrections", params={"vocabulary": "moods", "label": "warm"})).json()
            assert {row["id"] for row in listed["data"]} == {one["id"], two["id"], three["id"]}
            accepted = (await api.a.get("/v1/corrections", params={"verdict": "accepted", "limit": 1})).json()
            assert ([row["label"] for row in accepted["data"]], accepted["next_cursor"]) == (["mood"], None)
            # Unsaid, it is as models see it.
            for row in (await api.a.get("/v1/corrections")).json()["data"]:
                assert (await api.a.delete(f"/v1/corrections/{row['id']}")).status_code == 204
            assert await everything(api.a, ids) == before

    call(body)


def test_a_threshold_and_then_a_head_are_learnt_and_undone(call, toolkit):
    async def body(api):
        ids = await library(api, toolkit, FILMS)
        async with tagged(api, toolkit):
            await applied(api.a, WARM)
            before = await everything(api.a, ids)

            async def holding() -> set[str]:
                return {title for title, video in ids.items() if "warm" in await names(api.a, video)}

            assert {title.split()[0] for title in await holding()} == {"red"}
            for title in TAUGHT:
                shows = title.split()[0] in WARM_ONES
                await said(api.a, ids[title], "accepted" if shows else "rejected", start_s=0.0, end_s=3.0)
            corrected = await everything(api.a, ids)
            await settled(api)
            page = (await api.a.get("/v1/vocabularies/moods/learned", params={"label": "cosy"})).json()
            last = page["data"][0]
            assert (last["standing"], last["kind"], last["label"]) == ("holds", "head", "warm")
            assert (last["accepted"], last["rejected"]) == (9, 15)
            assert last["after"]["f1"] > last["before"]["f1"]
            unseen = {title for title in FILMS if title not in TAUGHT}
            right = {title for title in unseen if title.split()[0] in WARM_ONES}
            learnt = await holding()
            assert len(learnt & unseen ^ right) <= 1
            (orange,) = [tag for tag in await tags(api.a, ids["orange star"]) if tag["label"] == "warm"]
            assert orange["source"]["name"] == f"bundled, head {last['number']}"
            assert last["gained"] >= 1
            assert set(last["gained_videos"]) <= {ids[title] for title in unseen}
            # Undone, it is as what was said has it, to the last digit.
            for row in page["data"]:
                undone = await api.a.post("/v1/vocabularies/moods/learned/undo", json={"label": "cosy"})
                assert (undone.status_code, undone.json()["id"]) == (200, row["id"])
                assert undone.json()["standing"] == "undone"
            assert (await latest(api.a))["reason"] == "undone"
            assert await everything(api.a, ids) == corrected
            nothing = await api.a.post("/v1/vocabularies/moods/learned/undo", json={"label": "warm"})
            assert (nothing.status_code, nothing.json()["code"]) == (409, "conflict")
            # And learnt again.
            asked = await api.a.post("/v1/vocabularies/moods/learning", json={"label": "warm"})
            assert (asked.status_code, asked.json()["state"]) == (202, "due")
            await settled(api)
            assert await holding() == learnt
            (told,) = (await api.a.get("/v1/vocabularies/moods/learning")).json()
            assert (told["state"], told["outcome"]["number"]) == ("done", last["number"] + 1)
            # Without what was said it is as it was in the beginning.
            for row in (await api.a.get("/v1/corrections", params={"limit": 100})).json()["data"]:
                await api.a.delete(f"/v1/corrections/{row['id']}")
            await settled(api)
            await api.a.post("/v1/vocabularies/moods/learned/undo", json={"label": "warm"})
            await settled(api)
            assert await everything(api.a, ids) == before

    call(body)


def test_what_was_learnt_in_another_space_or_beside_other_words_does_not_hold(call, toolkit):
    async def body(api):
        ids = await library(api, toolkit, FILMS)
        async with tagged(api, toolkit):
            await applied(api.a, WARM)
            for title in TAUGHT:
                shows = title.split()[0] in WARM_ONES
                await said(api.a, ids[title], "accepted" if shows else "rejected")
            await settled(api)
            seen = (await api.a.get("/v1/vocabularies/moods/learned")).json()["data"]
            assert seen[0]["standing"] == "holds"
            # Other words: they are what counts, and are learnt beside by themselves.
            labels = [WARM["labels"][0] | {"prompts": ["an orange object"]}, WARM["labels"][1]]
            await api.a.put("/v1/vocabularies/moods", json={"name": "moods", "labels": labels})
            await settled(api)
            seen = (await api.a.get("/v1/vocabularies/moods/learned")).json()["data"]
            assert (seen[0]["standing"], seen[1]["standing"]) == ("holds", "other_words")
            await api.world.change("UPDATE learned_label SET space = 'old'")
            seen = (await api.a.get("/v1/vocabularies/moods/learned")).json()["data"]
            assert {one["standing"] for one in seen} == {"other_space"}

    call(body)


def test_what_cannot_be_said_is_refused(call, toolkit):
    async def body(api):
        ids = await library(api, toolkit, {"red": ("red circle",)})
        foreign = await library(api, toolkit, {"red": ("red circle",)}, "b")
        async with tagged(api, toolkit):
            await applied(api.a, WARM)
            fine = {"vocabulary": "moods", "label": "warm", "video_id": ids["red"], "verdict": "accepted"}
            for changes, status in (
                ({"label": "cold"}, 404),
                ({"vocabulary": "other"}, 404),
                ({"video_id": foreign["red"]}, 404),
                ({"segment": 3}, 404),
                ({"segment": 0, "start_s": 0.0}, 400),
                ({"start_s": 2.0, "end_s": 1.0}, 400),
                ({"start_s": 30.0}, 400),
                ({"verdict": "perhaps"}, 400),
            ):
                answer = await api.a.post("/v1/corrections", json=fine | changes)
                assert answer.status_code == status, (changes, answer.text)
            assert (await api.b.post("/v1/corrections", json=fine)).status_code == 404
            category = await api.a.post("/v1/vocabularies/moods/learning", json={"label": "mood"})
            assert category.status_code == 404
            # Of one video nothing is learnt, and that is told.
            await said(api.a, ids["red"], "rejected")
            await settled(api)
            (told,) = (await api.a.get("/v1/vocabularies/moods/learning")).json()
            assert (told["state"], told["outcome"]["number"]) == ("done", None)
            assert "two videos" in told["outcome"]["why"]

    call(body)


def test_many_say_things_at_once_while_the_library_is_tagged(call, toolkit):
    async def body(api):
        ids = await library(api, toolkit, FILMS)
        async with tagged(api, toolkit):
            which = await applied(api.a, WARM)
            titles = sorted(ids)
            await asyncio.gather(
                *(said(api.a, ids[title], "accepted", start_s=0.0, end_s=1.0) for title in titles),
                *(api.a.post(f"/v1/vocabularies/{which}/apply") for _ in range(3)),
                *(said(api.a, ids[title], "rejected", "blue") for title in titles),
            )
            await settled(api)
            for title in titles:
                found = {tag["label"]: tag for tag in await tags(api.a, ids[title], kind="tag")}
                assert "blue" not in found
                assert found["warm"]["ranges"][0]["score"] == 1.0
            rows = await api.world.sql("SELECT DISTINCT label FROM video_tag WHERE alias_of IS NULL ORDER BY 1")
            assert [row[0] for row in rows] == ["mood", "warm"]

    call(body)
