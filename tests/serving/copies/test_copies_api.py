"""Copies over HTTP, of videos that were really analysed."""

from pathlib import Path

import numpy as np
import pytest

from models.training.sampling import sample_scene
from models.training.scenes import render
from pipeline.synthesis import write_video
from tests.serving.copies.conftest import all_found, excerpt, film, finding, name_of, put
from tests.serving.search.conftest import SIZE, analysed, call, toolkit, url, worked

__all__ = ["call", "toolkit", "url"]


def _pictures(seed: int, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [render(sample_scene(rng), *SIZE) for _ in range(count)]


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> dict[str, Path]:
    """Twelve scenes of a second each; seven of them at half the size, behind four others; and something else."""
    folder = tmp_path_factory.mktemp("copied")
    whole, other, intro = _pictures(1, 12), _pictures(2, 10), _pictures(3, 4)
    part = [*intro, *whole[3:10]]
    shown = {"whole": whole, "part": [one[::2, ::2] for one in part], "other": other}
    return {
        title: write_video(folder / f"{title}.mp4", [one for one in some for _ in range(4)], fps=4)
        for title, some in shown.items()
    }


def test_a_copy_is_found_after_its_job(call, toolkit, copied):
    async def body(api):
        async with worked(api, toolkit):
            ids = await analysed(api.a, copied)
            # Nobody looked yet.
            waiting = (await api.a.get(f"/v1/videos/{ids['part']}/copies")).json()
            assert (waiting["state"], waiting["data"]) == ("pending", [])
            assert (await api.a.get("/v1/copies")).json()["pending"] == 3
            async with finding(api.world.database):
                await all_found(api.world.database)
            seen = (await api.a.get(f"/v1/videos/{ids['part']}/copies")).json()
            assert (seen["state"], seen["next_cursor"]) == ("done", None)
            (one,) = seen["data"]
            assert (one["first"]["video_id"], one["second"]["video_id"]) == (ids["part"], ids["whole"])
            assert one["second"]["title"] == "whole.mp4"
            (stretch,) = one["stretches"]
            # 4 to 11 of it is 3 to 10 of the other.
            assert [stretch[name] for name in ("first_start_s", "first_end_s")] == pytest.approx([4, 11], abs=0.8)
            assert [stretch[name] for name in ("second_start_s", "second_end_s")] == pytest.approx([3, 10], abs=0.8)
            assert stretch["second_start_s"] - stretch["first_start_s"] == pytest.approx(-1.0, abs=0.3)
            # From the other side.
            (turned,) = (await api.a.get(f"/v1/videos/{ids['whole']}/copies")).json()["data"]
            assert turned["id"] == one["id"]
            assert turned["first"] == one["second"]
            assert turned["stretches"][0]["first_start_s"] == stretch["second_start_s"]
            none = (await api.a.get(f"/v1/videos/{ids['other']}/copies")).json()
            assert (none["state"], none["data"]) == ("done", [])
            every = (await api.a.get("/v1/copies")).json()
            assert [pair["id"] for pair in every["data"]] == [one["id"]]
            assert (every["pending"], every["failed"], every["not_looked_at"]) == (0, 0, 0)
            assert (await api.b.get("/v1/copies")).json()["data"] == []
            assert (await api.b.get(f"/v1/videos/{ids['part']}/copies")).status_code == 404

    call(body)


def test_a_video_without_looks_says_so_and_gets_them_when_it_is_analysed_again(call, toolkit, copied):
    """As one that was analysed before there were looks: even where its features are known, it is decoded again."""

    async def body(api):
        async with worked(api, toolkit):
            some = {"whole": copied["whole"]}
            ids = await analysed(api.a, some)
            before = await api.world.sql("SELECT pts_s FROM look ORDER BY position")
            # Features that are known are not computed again, and looks stay.
            await analysed(api.a, some)
            assert await _features(api) == ["computed", "shared"]
            assert await api.world.sql("SELECT pts_s FROM look ORDER BY position") == before
            await api.world.change("DELETE FROM look")
            await api.world.change("DELETE FROM video_looks")
            seen = (await api.a.get(f"/v1/videos/{ids['whole']}/copies")).json()
            assert (seen["state"], seen["data"]) == ("not_looked_at", [])
            assert (await api.a.get("/v1/copies")).json()["not_looked_at"] == 1
            await analysed(api.a, some)
            assert await _features(api) == ["computed", "shared", "computed"]
            assert await api.world.sql("SELECT pts_s FROM look ORDER BY position") == before
            assert (await api.a.get(f"/v1/videos/{ids['whole']}/copies")).json()["state"] == "pending"
            assert (await api.a.get("/v1/videos/vid_" + "0" * 26 + "/copies")).status_code == 404

    call(body)


async def _features(api) -> list[str]:
    rows = await api.world.sql("SELECT metrics FROM job WHERE state = 'succeeded' ORDER BY created_at, id")
    return [row[0]["features"] for row in rows]


def test_pairs_come_in_pages_and_say_what_is_contained_in_what(call):
    async def body(api):
        base = film(1, 40)
        tracks = {1: base, 2: excerpt(base, 0, 39, seed=2), 3: excerpt(base, 3, 20, seed=3)}
        tracks |= {4: excerpt(base, 10, 25, before_s=15, seed=4)}
        await put(api.world.database, tracks)
        async with finding(api.world.database):
            await all_found(api.world.database)
        pages, cursor = [], None
        while True:
            asked = {"limit": 1} | ({"cursor": cursor} if cursor else {})
            page = (await api.a.get(f"/v1/videos/{name_of(1)}/copies", params=asked)).json()
            pages += page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert {one["second"]["video_id"]: one["relation"] for one in pages} == {
            name_of(2): "same",
            name_of(3): "second_in_first",
            name_of(4): "overlap",
        }
        assert [one["moments"] for one in pages] == sorted((one["moments"] for one in pages), reverse=True)
        back = (await api.a.get(f"/v1/videos/{name_of(3)}/copies")).json()["data"]
        assert {one["relation"] for one in back if one["second"]["video_id"] == name_of(1)} == {"first_in_second"}
        best = (await api.a.get("/v1/copies", params={"limit": 2})).json()
        rest = (await api.a.get("/v1/copies", params={"cursor": best["next_cursor"]})).json()
        every = [*best["data"], *rest["data"]]
        assert [one["moments"] for one in every] == sorted((one["moments"] for one in every), reverse=True)
        latest = (await api.a.get("/v1/copies", params={"sort": "-found_at"})).json()["data"]
        assert [one["found_at"] for one in latest] == sorted((one["found_at"] for one in latest), reverse=True)
        assert {one["id"] for one in latest} == {one["id"] for one in every}
        wrong = await api.a.get("/v1/copies", params={"cursor": best["next_cursor"], "sort": "-found_at"})
        assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_request")

    call(body)
