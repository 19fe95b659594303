"""Lists of videos: every filter, every sort, pages that hold together, and none that reads the whole table."""

import asyncio
import itertools
from typing import get_args

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import postgresql
from sqlmodel import select

from serving.api.video_list import Sort, VideoFilters, narrowed, ordered
from serving.db.database import Database
from serving.db.media import Video
from serving.db.statements import execute
from tests.serving.api.conftest import Api

#: Videos of tenant `a`, where nothing else is said. Two of each share what they are sorted by.
FILMS = """
    INSERT INTO video (id, tenant_id, title, filename, size_bytes, sha256, object_key, status, created_at, updated_at,
        labels, user_metadata, duration_s)
    SELECT 'vid_' || lpad(n::text, 26, '0'), :tenant,
        (ARRAY['Beach Day', 'beach 2', 'Über', 'Zoo'])[1 + n % 4] || ' ' || n / 2,
        'IMG_' || n || '.mp4', n / 2, 'h' || n, 'k', (ARRAY['uploaded', 'analyzed', 'failed'])[1 + n % 3],
        timestamptz '2024-01-01Z' + n / 2 * interval '1 s', timestamptz '2024-06-01Z' - n / 2 * interval '1 s',
        CASE WHEN n % 5 = 0 THEN ARRAY['five'] ELSE '{}' END,
        jsonb_build_object('n', n, 'half', n / 2.0, 'odd', n % 2 = 1, 'text', n::text, 'none', null,
            'deep', '{}'::jsonb),
        CASE WHEN n % 3 > 0 THEN n / 2 / 2.0 END
    FROM generate_series(cast(:first AS int), cast(:last AS int)) n
"""


async def _filled(api: Api, tenant: str = "a", first: int = 1, last: int = 60) -> None:
    await api.world.change("DELETE FROM video WHERE id LIKE 'vid_a'")
    await api.world.change(FILMS, tenant=tenant, first=first, last=last)


async def _numbers(api: Api, **query) -> list[int]:
    answer = await api.a.get("/v1/videos", params={"limit": 100} | query)
    assert answer.status_code == 200, answer.text
    return [int(video["id"][4:]) for video in answer.json()["data"]]


def test_filters(call):
    async def body(api):
        await _filled(api)
        await _filled(api, "b", 61, 70)
        tag = "INSERT INTO video_tag (video_id, label, tenant_id, score) SELECT id, 'dog', tenant_id, size_bytes / 30.0"
        await api.world.change(f"{tag} FROM video WHERE size_bytes BETWEEN 10 AND 30")
        every = set(range(1, 61))
        for query, wanted in [
            ({}, every),
            ({"status": "failed"}, {n for n in every if n % 3 == 2}),
            ({"label": "five"}, {n for n in every if n % 5 == 0}),
            ({"label": "fiv"}, set()),
            ({"tag": "dog"}, {n for n in every if 10 <= n // 2 <= 30}),
            ({"tag": "dog", "min_score": 0.8}, {n for n in every if 24 <= n // 2 <= 30}),
            ({"q": "BEACH"}, {n for n in every if n % 4 in (0, 1)}),
            ({"q": "bea day"}, {n for n in every if n % 4 == 0}),
            ({"q": "über"}, {n for n in every if n % 4 == 2}),
            ({"q": "each"}, set()),
            ({"q": "img_17.mp"}, {17, 34, 35}),
            ({"q": "%"}, set()),
            ({"created_after": "2024-01-01T00:00:20Z"}, {n for n in every if n // 2 > 20}),
            ({"created_before": "2024-01-01T00:00:20Z"}, {n for n in every if n // 2 < 20}),
            ({"min_duration_s": 10}, {n for n in every if n % 3 and n // 2 / 2 >= 10}),
            ({"max_duration_s": 3}, {n for n in every if n % 3 and n // 2 / 2 <= 3}),
            ({"metadata": "n:7"}, {7}),
            ({"metadata": "n:7.0"}, {7}),
            ({"metadata": "half:3.5"}, {7}),
            ({"metadata": "n:x"}, set()),
            ({"metadata": "text:7"}, set()),
            ({"metadata": 'text:"7"'}, {7}),
            ({"metadata": "odd:true"}, {n for n in every if n % 2}),
            ({"metadata": "none:null"}, every),
            ({"metadata": "deep:{}"}, set()),
            ({"metadata": ["odd:true", "n:8"]}, set()),
            ({"metadata": ["odd:true", "n:9"], "status": "uploaded", "q": "beach"}, {9}),
        ]:
            assert set(await _numbers(api, **query)) == wanted, query

    call(body)


def test_what_is_changed_is_found_by_what_it_is_now(call):
    async def body(api):
        await _filled(api, last=2)
        video = "vid_" + "1".rjust(26, "0")
        patch = {"title": "Mountains", "labels": ["new"], "user_metadata": {"n": "seven"}}
        assert (await api.a.patch(f"/v1/videos/{video}", json=patch)).status_code == 200
        for query in ({"q": "mount"}, {"label": "new"}, {"metadata": "n:seven"}):
            assert await _numbers(api, **query) == [1]
        for query in ({"q": "beach"}, {"metadata": "n:1"}):
            assert await _numbers(api, **query) == []
        assert (await api.a.delete(f"/v1/videos/{video}")).status_code == 204
        assert await api.world.sql("SELECT * FROM video_key WHERE video_id = :id", id=video) == []

    call(body)


def test_pages_hold_together_under_every_sort(call):
    async def body(api):
        await _filled(api, last=23)
        keys = {
            "created_at": lambda n: (n // 2, n),
            "updated_at": lambda n: (-(n // 2), n),
            "title": lambda n: (f"{('beach day', 'beach 2', 'über', 'zoo')[n % 4]} {n // 2}", n),
            "duration_s": lambda n: (n // 2 / 2 if n % 3 else -1, n),
            "size_bytes": lambda n: (n // 2, n),
        }
        for sort, narrow in itertools.product(get_args(Sort), ({}, {"status": "uploaded"})):
            wanted = sorted(range(1, 24), key=keys[sort.removeprefix("-")], reverse=sort.startswith("-"))
            wanted = [n for n in wanted if not narrow or n % 3 == 0]
            assert await _numbers(api, sort=sort, **narrow) == wanted, sort
            seen, cursor = [], {}
            while True:
                params = {"sort": sort, "limit": 4, **narrow, **cursor}
                page = (await api.a.get("/v1/videos", params=params)).json()
                seen += [int(video["id"][4:]) for video in page["data"]]
                if page["next_cursor"] is None:
                    break
                cursor = {"cursor": page["next_cursor"]}
            assert seen == wanted, sort

    call(body)


def test_a_cursor_is_good_for_its_own_list_only(call):
    async def body(api):
        await _filled(api)
        cursor = (await api.a.get("/v1/videos", params={"sort": "title", "q": "zoo", "limit": 2})).json()["next_cursor"]
        assert len(await _numbers(api, sort="title", q="zoo", cursor=cursor)) == 13
        for other in (
            {"q": "zoo"},
            {"sort": "-title", "q": "zoo"},
            {"sort": "title"},
            {"sort": "title", "q": "zoo", "status": "failed"},
        ):
            answer = await api.a.get("/v1/videos", params={"cursor": cursor} | other)
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), other
            assert "cursor" in str(answer.json()["errors"])

    call(body)


@pytest.mark.parametrize(
    "query",
    [
        {"status": "done"},
        {"sort": "name"},
        {"sort": "--title"},
        {"min_score": 0.5},
        {"tag": "dog", "min_score": 2},
        {"min_duration_s": -1},
        {"min_duration_s": "nan"},
        {"created_after": "2024-01-01T00:00:00"},
        {"metadata": "no colon"},
        {"metadata": ["a:1"] * 11},
        {"q": "\0"},
        {"metadata": "a:\0"},
        {"cursor": "e30"},
        {"cursor": "x" * 5000},
    ],
)
def test_what_cannot_be_asked_for_is_refused(call_shared, query):
    async def body(api):
        answer = await api.a.get("/v1/videos", params=query)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")

    call_shared(body)


async def plan_of(database: Database, asked: VideoFilters, sort: Sort) -> str:
    """How the database would make a page of 20: EXPLAIN's text."""
    async with database.read("a") as session:
        query = await narrowed(session, ordered(asked, sort).page(select(Video), 20, None), "a", asked)
        sql = query.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
        return "\n".join((await execute(session, text(f"EXPLAIN {sql}".replace(":", r"\:")))).scalars().all())


def test_no_list_reads_the_whole_table(url):
    async def body() -> None:
        database = Database(url)
        async with database.write("clean.expired", "*") as session:
            await execute(session, text("INSERT INTO tenant (id, name) VALUES ('a', 'a'), ('b', 'b')"))
            for tenant, first, last in (("a", 1, 8000), ("b", 8001, 10_000)):
                await execute(session, text(FILMS), tenant=tenant, first=first, last=last)
            await execute(session, text("ANALYZE video"))
            await execute(session, text("ANALYZE video_key"))
        for sort in get_args(Sort):
            for asked in (
                VideoFilters(),
                VideoFilters(status="failed"),
                VideoFilters(label="five"),
                VideoFilters(q="img 7"),
                VideoFilters(metadata=("n:7",)),
                VideoFilters(tag="dog", min_score=0.5),
            ):
                plan = await plan_of(database, asked, sort)
                assert "Seq Scan" not in plan, f"{sort} {asked}\n{plan}"
        await database.close()

    asyncio.run(body())
