"""Recommendations over HTTP: what is planted is found, spread, collapsed and explained, and the same each time."""

import pytest
from sqlalchemy import text

from serving.db.statements import execute
from serving.recommending import recommending
from tests.serving.recommending.conftest import MEMBERS, SAMPLES, SCENES, call, name_of, put, url

__all__ = ["call", "url"]


async def asked(client, **body) -> dict:
    answer = await client.post("/v1/recommendations", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _video(scene: int, member: int) -> dict:
    return {"video_id": name_of(scene, member)}


def _scenes(page: dict) -> list[int]:
    return [int(one["video_id"][5:17]) for one in page["data"]]


@pytest.fixture
def plain(monkeypatch) -> None:
    """Nothing is hidden for its looks: the scenes here are near to each other."""
    monkeypatch.setattr(recommending, "SAME", dict.fromkeys(("videos", "segments"), 0.999999))


@pytest.mark.usefixtures("plain")
def test_what_is_like_a_video_shows_the_same(call, planted):
    async def body(api):
        await put(api.world.database, planted)
        for scene in range(len(SCENES)):
            here = f"/v1/videos/{name_of(scene, 0)}"
            page = (await api.a.get(f"{here}/similar", params={"limit": MEMBERS - 1, "diversity": 0})).json()
            assert _scenes(page) == [scene] * (MEMBERS - 1)
            assert name_of(scene, 0) not in {one["video_id"] for one in page["data"]}
            best = page["data"][0]
            (reason,) = best["reasons"]
            assert (reason["signal"], reason["item"]["video_id"]) == ("liked", name_of(scene, 0))
            assert best["relevance"] == pytest.approx(reason["similarity"], abs=1e-4)
            assert best["title"] == f"{SCENES[scene]} {int(best['video_id'][-13:])}"
            assert 0 <= best["thumbnail_s"] < best["end_s"] == SAMPLES
            assert [one["relevance"] for one in page["data"]] == sorted(
                (one["relevance"] for one in page["data"]), reverse=True
            )
            segments = (await api.a.get(f"{here}/segments/1/similar", params={"limit": 6, "diversity": 0})).json()
            assert _scenes(segments) == [scene] * 6
            assert {one["segment"] for one in segments["data"]} <= {0, 1}
            assert (name_of(scene, 0), 1) not in {(one["video_id"], one["segment"]) for one in segments["data"]}
        gone = await api.a.get(f"/v1/videos/{name_of(0, 0)}/segments/7/similar")
        assert (gone.status_code, gone.json()["code"]) == (404, "not_in_space")

    call(body)


@pytest.mark.usefixtures("plain")
def test_several_interests_are_served_and_what_is_disliked_is_not(call, planted):
    async def body(api):
        await put(api.world.database, planted)
        two = {"liked": [_video(0, 0), {"segment": {"video_id": name_of(3, 1), "index": 0}}], "limit": 6}
        page = await asked(api.a, **two, diversity=0.0)
        assert set(_scenes(page)) == {0, 3}
        for one in page["data"]:
            (reason,) = one["reasons"]
            scene = int(one["video_id"][5:17])
            assert reason["item"]["video_id"] == (name_of(0, 0) if scene == 0 else name_of(3, 1))
            assert reason["item"]["segment"] == (None if scene == 0 else 0)
        against = await asked(
            api.a, **two, diversity=0.0, disliked=[{"moment": {"video_id": name_of(3, 2), "at_s": 2.2}}]
        )
        before = {one["video_id"]: one["relevance"] for one in page["data"]}
        lost = {one["video_id"]: one for one in against["data"] if _scenes({"data": [one]}) == [3]}
        assert lost
        for name, one in lost.items():
            assert [reason["signal"] for reason in one["reasons"]] == ["liked", "disliked"]
            assert one["relevance"] < before.get(name, 1.0)
        assert _scenes(against)[0] == 0
        # A moment that is liked names its frame.
        moment = await asked(
            api.a, liked=[{"moment": {"video_id": name_of(2, 2), "at_s": 3.4}}], kind="segments", limit=3
        )
        assert _scenes(moment) == [2, 2, 2]
        assert moment["data"][0]["reasons"][0]["item"] == {"video_id": name_of(2, 2), "segment": None, "at_s": 3.0}
        # The segment that has the moment is no recommendation.
        assert (name_of(2, 2), 1) not in {(one["video_id"], one["segment"]) for one in moment["data"]}

    call(body)


@pytest.mark.usefixtures("plain")
def test_diversity_spreads_and_filters_hold(call, planted):
    async def body(api):
        await put(api.world.database, planted, labels=("kept",))
        liked = {"liked": [_video(1, 0)], "limit": 5}
        near = await asked(api.a, **liked, diversity=0.0)
        far = await asked(api.a, **liked, diversity=1.0)
        assert len(set(_scenes(near))) < len(set(_scenes(far))) == len(SCENES)
        signals = [tuple(reason["signal"] for reason in one["reasons"]) for one in far["data"]]
        assert ("liked", "picked_before") in signals
        assert {tuple(reason["signal"] for reason in one["reasons"]) for one in near["data"]} == {("liked",)}
        kept = await asked(api.a, **liked, where={"label": "kept"})
        assert {int(one["video_id"][-13:]) % 2 for one in kept["data"]} == {0}
        here = f"/v1/videos/{name_of(1, 0)}/similar"
        same = (await api.a.get(here, params={"label": "kept", "limit": 5})).json()
        assert same["data"] == kept["data"]
        assert (await api.a.get(here, params={"q": "nothing"})).json()["data"] == []
        only = await asked(api.a, **liked, where={"video_ids": [name_of(4, 4)]})
        assert _scenes(only) == [4]
        left = await asked(api.a, **liked, exclude=[name_of(1, 1), name_of(1, 2)])
        assert {name_of(1, 1), name_of(1, 2)} & {one["video_id"] for one in left["data"]} == set()

    call(body)


def test_a_start_shows_what_there_is(call, planted):
    async def body(api):
        await put(api.world.database, planted)
        for kind in ("videos", "segments"):
            page = await asked(api.a, kind=kind, limit=len(SCENES))
            assert sorted(_scenes(page)) == list(range(len(SCENES))), kind
            shares = [reason["similarity"] for one in page["data"] for reason in one["reasons"]]
            assert {reason["signal"] for one in page["data"] for reason in one["reasons"]} == {"represents"}
            assert sum(shares) == pytest.approx(1.0, abs=1e-4)
        against = await asked(api.a, disliked=[_video(0, 0)], limit=len(SCENES) - 1)
        assert 0 not in _scenes(against)

    call(body)


def test_the_same_question_has_the_same_answer(call, planted):
    async def body(api):
        await put(api.world.database, planted)
        questions = [
            {},
            {"kind": "segments", "limit": 20},
            {"liked": [_video(0, 0), _video(2, 1)], "disliked": [_video(4, 0)], "limit": 15},
            {"liked": [{"moment": {"video_id": name_of(1, 1), "at_s": 1.0}}], "kind": "segments", "diversity": 1.0},
        ]
        first = [(await api.a.post("/v1/recommendations", json=one)).content for one in questions]
        # In whatever order rows lie.
        await api.world.change("UPDATE video_vector SET lot = lot WHERE video_id > :id", id=name_of(2, 0))
        await api.world.change("UPDATE segment_vector SET lot = lot WHERE video_id < :id", id=name_of(3, 0))
        for _ in range(3):
            again = [(await api.a.post("/v1/recommendations", json=one)).content for one in questions]
            assert again == first
        turned = dict(questions[2]) | {"liked": [_video(2, 1), _video(0, 0)]}
        assert (await api.a.post("/v1/recommendations", json=turned)).content == first[2]

    call(body)


def test_copies_and_near_duplicates_stand_for_one_another(call, planted):
    async def body(api):
        await put(api.world.database, planted)
        await _are_copies(api, name_of(0, 1), name_of(0, 2))
        await _are_copies(api, name_of(0, 0), name_of(0, 3))
        page = (await api.a.get(f"/v1/videos/{name_of(0, 0)}/similar", params={"limit": 20, "diversity": 0})).json()
        (out,) = [one for one in page["left_out"] if one["copy"]]
        assert (out["item"]["video_id"], out["like"]["video_id"]) == (name_of(0, 3), name_of(0, 0))
        shown = {one["video_id"]: one["stands_for"] for one in page["data"]}
        assert name_of(0, 3) not in shown
        assert len({name_of(0, 1), name_of(0, 2)} & set(shown)) == 1
        (pick,) = {name_of(0, 1), name_of(0, 2)} & set(shown)
        (other,) = {name_of(0, 1), name_of(0, 2)} - {pick}
        assert {"video_id": other, "segment": None, "at_s": pytest.approx(2.5, abs=3)} in [
            one["item"] for one in shown[pick] if one["copy"]
        ]
        # Every video is shown, or named.
        named = {one["item"]["video_id"] for some in shown.values() for one in some}
        named |= {one["item"]["video_id"] for one in page["left_out"]}
        assert len(set(shown) | named) == len(SCENES) * MEMBERS - 1
        # Of segments, those that lie on each other.
        parts = (await api.a.get(f"/v1/videos/{name_of(0, 1)}/segments/0/similar", params={"limit": 50})).json()
        copies = [one["item"] for one in parts["left_out"] if one["copy"]]
        assert [(one["video_id"], one["segment"]) for one in copies] == [(name_of(0, 2), 0)]
        # Of a video that is liked, all segments of its copy; of a segment, the copy of its video.
        all_of_it = await asked(api.a, liked=[_video(0, 1)], kind="segments", limit=50)
        copies = {(one["item"]["video_id"], one["item"]["segment"]) for one in all_of_it["left_out"] if one["copy"]}
        assert copies == {(name_of(0, 2), 0), (name_of(0, 2), 1)}
        of_part = await asked(api.a, liked=[{"segment": {"video_id": name_of(0, 2), "index": 1}}], limit=50)
        assert [one["item"]["video_id"] for one in of_part["left_out"] if one["copy"]] == [name_of(0, 1)]

    call(body)


async def _are_copies(api, first: str, second: str) -> None:
    stretch = (
        f'[{{"first_start_s": 0, "first_end_s": {SAMPLES}, "second_start_s": 0, "second_end_s": {SAMPLES}, '
        '"speed": 1, "likeness": 1, "moments": 6}]'
    )
    async with api.world.database.write("video.write", "a") as session:
        await execute(
            session,
            text(
                "INSERT INTO video_copy (id, tenant_id, first_id, second_id, first_share, second_share, likeness, "
                "moments, stretches) VALUES (:id, 'a', :first, :second, 1, 1, 1, 6, cast(:stretches AS jsonb))"
            ),
            id=f"cpy_{first[-3:]}{second[-3:]}",
            first=first,
            second=second,
            stretches=stretch,
        )


def test_what_is_not_in_the_space_is_named(call, planted):
    async def body(api):
        nothing = await api.a.post("/v1/recommendations", json={})
        assert (nothing.status_code, nothing.json()["data"]) == (200, [])
        early = await api.a.post("/v1/recommendations", json={"liked": [_video(0, 0)]})
        assert (early.status_code, early.json()["code"]) == (404, "not_in_space")
        await put(api.world.database, planted)
        wrong = {
            "liked": [_video(0, 0), {"video_id": "vid_" + "0" * 26}],
            "disliked": [{"segment": {"video_id": name_of(0, 1), "index": 9}}],
        }
        answer = await api.a.post("/v1/recommendations", json=wrong)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_in_space")
        assert [one["pointer"] for one in answer.json()["errors"]] == ["/liked/1", "/disliked/0"]
        assert f"{name_of(0, 1)}#9" in answer.json()["detail"]
        for bad in (
            {"liked": [{}]},
            {"liked": [{"video_id": name_of(0, 0), "moment": {"video_id": name_of(0, 0), "at_s": 1}}]},
            {"diversity": 1.5},
            {"limit": 0},
            {"liked": [_video(0, 0)] * 101},
            {"where": {"min_tag_score": 0.5}},
        ):
            answer = await api.a.post("/v1/recommendations", json=bad)
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), bad

    call(body)


def test_a_large_library_is_asked_by_its_graph(call, planted, monkeypatch):
    from serving.search import indexes, plan, retrieving

    monkeypatch.setattr(plan, "EXACT_ROWS", 10)
    monkeypatch.setattr(retrieving, "EXACT_ROWS", 10)
    monkeypatch.setattr(recommending, "SAME", {"videos": 2.0, "segments": 2.0})

    async def body(api):
        await put(api.world.database, planted)
        assert await indexes.make_graphs(api.world.database.url, least_rows=10) == 3
        for kind in ("videos", "segments"):
            page = await asked(api.a, liked=[_video(2, 0)], kind=kind, limit=4, diversity=0.0)
            assert "graph" in page["way"]
            assert _scenes(page) == [2] * 4

    call(body)
