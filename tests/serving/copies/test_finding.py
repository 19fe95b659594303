"""Copies are found in the database, by all that is there and by the graph; reports replace pairs; nobody's death and no
race loses any."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.copies import claims, finder, neighbours
from serving.copies.keeping import track_of, write_looks
from serving.errors import LeaseLost
from serving.search import indexes
from tests.serving.copies.conftest import all_found, excerpt, film, finding, left, name_of, put, run, url

__all__ = ["run", "url"]

_PAIRS = "SELECT first_id, second_id, first_share, second_share, stretches FROM video_copy ORDER BY first_id, second_id"


async def _pairs(world) -> dict[tuple[str, str], tuple]:
    return {(row[0], row[1]): tuple(row[2:]) for row in await world.sql(_PAIRS)}


@pytest.mark.parametrize("way", ["all", "graph", "all, in parts"])
def test_excerpts_and_whole_copies_are_found_with_their_ranges(run, films, monkeypatch, way):
    monkeypatch.setattr(neighbours, "EXACT_ROWS", 20 if way == "graph" else 20_000)
    if way == "all, in parts":
        monkeypatch.setattr(neighbours, "_READ", 7)
        monkeypatch.setattr(neighbours, "BLOCK", 5)

    async def body(world):
        await put(world.database, films)
        if way == "graph":
            assert await indexes.make_graphs(world.database.url, least_rows=20) == 1
            monkeypatch.setattr(neighbours, "_of_all", None)
        async with finding(world.database):
            await all_found(world.database)
        found = await _pairs(world)
        assert set(found) == {(name_of(1), name_of(10)), (name_of(2), name_of(11))}
        share, of_other, (stretch,) = found[name_of(1), name_of(10)]
        assert share == pytest.approx(13 / 20, abs=0.06)
        assert of_other == pytest.approx(13 / 19, abs=0.06)
        # 4 of the film lies at 6 of the copy.
        assert (stretch["first_start_s"], stretch["second_start_s"]) == (
            pytest.approx(3.5, abs=0.6),
            pytest.approx(5.5, abs=0.6),
        )
        assert stretch["second_start_s"] - stretch["first_start_s"] == pytest.approx(2.0, abs=0.2)
        assert (stretch["speed"], stretch["likeness"]) == (pytest.approx(1.0, abs=0.02), pytest.approx(1.0, abs=0.1))
        assert min(found[name_of(2), name_of(11)][:2]) > 0.8

    run(body)


def test_many_looks_wait_for_their_graph(run, films, monkeypatch):
    monkeypatch.setattr(neighbours, "EXACT_ROWS", 20)
    due = "SELECT count(*) FROM video_looks WHERE state = 'due' AND attempts = 0 AND next_at > now() + interval '30 s'"

    async def body(world):
        await put(world.database, films)
        async with finding(world.database):
            while (await world.sql(due))[0][0] < len(films):
                assert not await _pairs(world)
                assert await left(world.database) == len(films), "it was read without a graph"
                await asyncio.sleep(0.02)
            assert await indexes.make_graphs(world.database.url, least_rows=20) == 1
            await world.change("UPDATE video_looks SET next_at = now()")
            await all_found(world.database)
        assert set(await _pairs(world)) == {(name_of(1), name_of(10)), (name_of(2), name_of(11))}

    run(body)


def test_what_was_written_is_what_is_read(run):
    """Black samples have no row, and are there again."""

    async def body(world):
        track = film(7)
        await put(world.database, {7: track})
        assert (await world.sql("SELECT count(*) FROM look"))[0][0] == len(track.pts_s) - 2
        async with world.database.read("a") as session:
            again = await track_of(session, "a", name_of(7))
            assert await track_of(session, "a", name_of(8)) is None
        assert again is not None
        assert again.pts_s.tolist() == track.pts_s.tolist()
        assert abs(again.vectors - track.vectors).max() < 1e-3
        assert not again.vectors[[0, -1]].any()

    run(body)


def test_a_new_report_replaces_the_pairs_and_a_deleted_video_takes_them_along(run, films):
    async def body(world):
        await put(world.database, films)
        async with finding(world.database):
            await all_found(world.database)
            await put(world.database, {10: excerpt(films[3], 2, 17)})
            await all_found(world.database)
            assert set(await _pairs(world)) == {(name_of(3), name_of(10)), (name_of(2), name_of(11))}
        # Looks that are known stay, and are looked for again.
        async with world.database.write("video.write", "a") as session:
            await write_looks(session, "a", name_of(10), None)
            await write_looks(session, "a", "vid_a", None)
        assert await left(world.database) == 1
        await world.change("DELETE FROM video WHERE id = :id", id=name_of(11))
        assert set(await _pairs(world)) == {(name_of(3), name_of(10))}
        assert await world.sql("SELECT 1 FROM look WHERE video_id = :id", id=name_of(11)) == []

    run(body)


def test_tenants_with_the_same_videos_have_no_copies_of_each_other(run, films):
    async def body(world):
        await put(world.database, films)
        await put(world.database, {1: films[1], 3: films[3]}, tenant="b")
        async with finding(world.database):
            await all_found(world.database)
        assert {pair for pair in await _pairs(world) if "vid_B" in "".join(pair)} == set()
        assert len(await _pairs(world)) == 2

    run(body)


def test_whoever_dies_over_it_is_followed_by_another(run, films, monkeypatch):
    async def body(world):
        await put(world.database, {1: films[1], 10: films[10]})
        (first,) = await claims.claim(world.database, most=1, each=1, busy=(), lease_s=0.05)
        async with finding(world.database):
            await all_found(world.database)
        assert set(await _pairs(world)) == {(name_of(1), name_of(10))}
        with pytest.raises(LeaseLost):
            await claims.record(world.database, first, [])
        assert set(await _pairs(world)) == {(name_of(1), name_of(10))}

    run(body)


def test_a_report_that_comes_meanwhile_is_looked_at_anew(run, films):
    async def body(world):
        await put(world.database, {1: films[1], 10: films[10]})
        claimed = await claims.claim(world.database, most=5, each=5, busy=(), lease_s=30.0)
        await put(world.database, {10: films[4]})
        old = next(one for one in claimed if one.video_id == name_of(10))
        for write in (claims.record(world.database, old, []), claims.renew(world.database, old, 30.0)):
            with pytest.raises(LeaseLost):
                await write
        await claims.give_back(world.database, old)
        (again,) = await claims.claim(world.database, most=5, each=5, busy=(), lease_s=30.0)
        assert (again.video_id, again.attempt) == (name_of(10), 1)

    run(body)


def test_one_that_nobody_survives_is_given_up_and_said_to_be(run, films):
    async def body(world):
        await put(world.database, {1: films[1]})
        for _ in range(claims.MOST_ATTEMPTS):
            assert await claims.claim(world.database, most=1, each=1, busy=(), lease_s=0.0)
        async with finding(world.database):
            await all_found(world.database)
        assert await world.sql("SELECT state FROM video_looks") == [("failed",)]

    run(body)


def test_what_was_deleted_meanwhile_is_in_no_pair(run, films):
    async def body(world):
        await put(world.database, {1: films[1], 10: films[10], 3: films[3]})
        claimed = {
            one.video_id: one for one in await claims.claim(world.database, most=5, each=5, busy=(), lease_s=30.0)
        }
        with ThreadPoolExecutor(1) as pool:
            found = await finder.find(world.database, "a", name_of(10), pool)
            assert [one.video_id for one in found] == [name_of(1)]
            await world.change("DELETE FROM video WHERE id = :id", id=name_of(1))
            await claims.record(world.database, claimed[name_of(10)], found)
            assert await world.sql("SELECT state FROM video_looks WHERE video_id = :id", id=name_of(10)) == [("done",)]
            assert await _pairs(world) == {}
            for gone in (
                finder.find(world.database, "a", name_of(1), pool),
                claims.record(world.database, claimed[name_of(1)], []),
                claims.give_up(world.database, claimed[name_of(1)]),
            ):
                with pytest.raises(LeaseLost):
                    await gone

    run(body)


def test_who_is_stopped_gives_it_back(run, films, monkeypatch):
    async def body(world):
        await put(world.database, {1: films[1]})
        begun = asyncio.Event()

        async def endless(*_):
            begun.set()
            await asyncio.sleep(60)

        monkeypatch.setattr(finder, "find", endless)
        monkeypatch.setattr("serving.claiming.GRACE_S", 0.05)
        async with finding(world.database):
            await begun.wait()
        assert await world.sql("SELECT state, attempts FROM video_looks WHERE next_at <= now()") == [("due", 0)]

    run(body)


def test_several_finders_at_once_find_each_pair_once(run, films):
    async def body(world):
        await put(world.database, films)
        async with finding(world.database), finding(world.database), finding(world.database):
            await all_found(world.database)
        assert set(await _pairs(world)) == {(name_of(1), name_of(10)), (name_of(2), name_of(11))}

    run(body)
