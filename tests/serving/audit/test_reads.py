"""Reads of media are in the log before their first byte goes out, alike ones together."""

import asyncio
import json
from contextlib import asynccontextmanager

import httpx
from litestar import Response, get

from serving.api.access import needs
from serving.api.app import create_app
from serving.audit import reads
from serving.audit.acting import Acting
from serving.audit.reads import MEDIA, TOGETHER_S, Reads
from serving.db.database import Database
from serving.errors import DatabaseUnavailable, NotFound
from serving.settings import DEFAULTS
from tests.serving.api.conftest import SETTINGS, made_key, served
from tests.serving.audit.linked import found, keeping_of
from tests.serving.commands import ROOT
from tests.serving.playback.conftest import content_of, uploaded, url_of
from tests.serving.sealing import store_at

#: Content of answers that is what somebody is seen or heard in, or made of it.
MEDIA_TYPES = ("video/", "audio/", "image/", "application/vnd.apple.mpegurl", "application/x-tar", "application/zip")


@get("/v1/films/{video_id:str}", operation_id="get_film", media=True, **needs("videos:read"))
async def film(video_id: str, part: int | None = None) -> Response[bytes]:
    """Media, as an operation of the API serves it; `x` is nobody's."""
    if video_id == "x":
        raise NotFound("there is no such video")
    status = {None: 200, 304: 304}.get(part, 206)
    return Response(b"" if status == 304 else b"bytes", media_type="video/mp4", status_code=status)


@asynccontextmanager
async def _client(world, url, folder):
    """Somebody of tenant `a`, of a server that has films."""
    key = await made_key(world.database, "a")
    async with (
        served(url, store_at(folder / "objects"), SETTINGS, film) as address,
        httpx.AsyncClient(base_url=address, headers={"Authorization": f"Bearer {key}"}, verify=False) as client,
    ):
        yield client


async def _noted(world) -> list:
    return await world.sql("SELECT * FROM audit WHERE kind = 'read' ORDER BY at, id")


def test_five_hundred_ranges_of_a_player_are_two_lines(run, url, tmp_path):
    async def body(world):
        async with _client(world, url, tmp_path) as client:
            answer = await client.get("/v1/films/vid_a")
            (first,) = await _noted(world)
            assert (first.tenant_id, first.operation, first.targets) == ("a", "get_film", ["vid_a"])
            assert (first.actor, first.count) == (first.credential, 1)
            assert first.address == "127.0.0.1"
            assert first.request_id == answer.headers["x-request-id"]
            for part in range(100):
                assert (await client.get("/v1/films/vid_a", params={"part": part})).status_code == 206
            # Of another video, and what reads nothing.
            await client.get("/v1/films/vid_b")
            await client.head("/v1/films/vid_c")
            assert (await client.get("/v1/films/vid_d", params={"part": 304})).status_code == 304
            assert (await client.get("/v1/films/x")).status_code == 404
            assert [(row.targets, row.count) for row in await _noted(world)] == [(["vid_a"], 1), (["vid_b"], 1)]
            shown = (await client.get("/v1/audit", params={"kind": "read"})).json()["data"]
            assert [entry["targets"] for entry in shown] == [["vid_b"], ["vid_a"]]
        # What was counted is noted when the server ends, and all of it is linked.
        assert [(row.targets, row.count) for row in await _noted(world)][2:] == [(["vid_a"], 100)]
        assert await found(world, keeping_of(world)) == []
        assert await world.sql("SELECT * FROM audit_pending") == []

    run(body)


def test_what_cannot_be_noted_is_not_answered(run, url, tmp_path):
    async def body(world):
        async with _client(world, url, tmp_path) as client:
            assert (await client.get("/v1/films/vid_b")).status_code == 200
            await world.change("ALTER TABLE audit_pending RENAME TO elsewhere")
            answer = await client.get("/v1/films/vid_a")
            assert answer.status_code == 500
            assert b"bytes" not in answer.content
            await world.change("ALTER TABLE elsewhere RENAME TO audit_pending")
            assert (await client.get("/v1/films/vid_a")).content == b"bytes"
        assert [row.targets for row in await _noted(world)] == [["vid_b"], ["vid_a"]]

    run(body)


def test_counts_are_noted_when_their_time_is_over_and_the_oldest_when_there_are_too_many(run, monkeypatch):
    monkeypatch.setattr(reads, "MAX_REMEMBERED", 3)

    async def body(world):
        now = 0.0
        noting = Reads(world.database, lambda: now)

        async def read(video: str, times: int) -> None:
            for _ in range(times):
                await noting.note(Acting("get_film", "req_1", "192.0.2.1", "a", "key_1", "key_1", (video,)))

        await read("vid_1", 5)
        now = TOGETHER_S - 1
        await noting.write()
        assert [row.count for row in await _noted(world)] == [1]
        now = TOGETHER_S
        await noting.write()
        assert [row.count for row in await _noted(world)] == [1, 4]
        await read("vid_1", 2)
        await asyncio.gather(*(read(f"vid_{number}", 1) for number in range(2, 5)))
        await noting.write()
        assert sorted((row.targets[0], row.count) for row in await _noted(world)) == [
            ("vid_1", 1),
            ("vid_1", 1),
            ("vid_1", 1),
            ("vid_1", 4),
            ("vid_2", 1),
            ("vid_3", 1),
            ("vid_4", 1),
        ]
        # One that goes on when its time is over begins anew.
        await read("vid_4", 3)
        now = 3 * TOGETHER_S
        await read("vid_4", 1)
        await noting.write(all=True)
        assert sorted(row.count for row in await _noted(world) if row.targets == ["vid_4"]) == [1, 1, 3]

    run(body)


def test_many_first_reads_at_once_share_transactions(run):
    async def body(world):
        noting = Reads(world.database)
        acting = [Acting("get_film", None, None, "a", "key_1", "key_1", (f"vid_{number}",)) for number in range(200)]
        await asyncio.gather(*(noting.note(one) for one in acting))
        rows = await world.sql("SELECT count(DISTINCT at) AS transactions, count(*) AS lines FROM audit")
        assert rows[0].lines == 200
        assert rows[0].transactions <= 3

    run(body)


def test_of_those_who_begin_at_once_with_the_same_one_is_noted(run):
    async def body(world):
        noting = Reads(world.database)
        acting = Acting("get_film", None, None, "a", "key_1", "key_1", ("vid_1",))
        tasks = [asyncio.create_task(noting.note(acting)) for _ in range(20)]
        await asyncio.sleep(0)
        # Who goes away takes nobody along.
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await noting.write(all=True)
        assert [row.count for row in await _noted(world)] == [1, 19]

    run(body)


def test_what_could_not_be_written_is_told_to_all_who_wait(run):
    async def body(world):
        noting = Reads(Database("postgresql://nobody@127.0.0.1:1/nothing"))
        acting = [Acting("get_film", None, None, "a", "key_1", "key_1", (f"vid_{number}",)) for number in range(3)]
        told = await asyncio.gather(*(noting.note(one) for one in acting), return_exceptions=True)
        assert {type(error) for error in told} == {DatabaseUnavailable}

    run(body)


def test_a_signed_url_is_read_by_who_asked_for_it(call):
    async def body(api):
        video = await uploaded(api.a, content_of(200_000))
        url = await url_of(api.a, video)
        me = (await api.a.get("/v1/me")).json()
        answer = await api.nobody.get(url, headers={"Range": "bytes=5-99999"})
        assert (answer.status_code, len(answer.content)) == (206, 99_995)
        assert (await api.a.get(f"/v1/videos/{video}/stream")).status_code == 200
        (line,) = await _noted(api.world)
        assert (line.operation, line.targets, line.count) == ("stream_video", [video], 1)
        assert line.actor in str(me)
        signature = url.partition("signature=")[2]
        assert signature not in str(await api.world.sql("SELECT audit::text FROM audit"))
        # Where it cannot be noted, not a byte goes out.
        await api.world.change("ALTER TABLE audit_pending RENAME TO elsewhere")
        other = await api.with_key("a")
        answer = await other.get(f"/v1/videos/{video}/stream")
        assert answer.status_code == 500
        assert content_of(200_000)[:50] not in answer.content
        await api.world.change("ALTER TABLE elsewhere RENAME TO audit_pending")

    call(body)


def _serving(schema: dict) -> set[str]:
    """Operations whose answers are media."""
    return {
        operation["operationId"]
        for methods in schema["paths"].values()
        for operation in methods.values()
        if isinstance(operation, dict)
        for status, answer in operation.get("responses", {}).items()
        if int(status) in (200, 206) and any(kind.startswith(MEDIA_TYPES) for kind in answer.get("content", {}))
    }


def test_every_operation_that_serves_media_says_so(tmp_path):
    app = create_app(Database("postgresql://nobody@/nothing"), store_at(tmp_path), DEFAULTS, b"")
    handlers = [handler for route in app.routes for handler in getattr(route, "route_handlers", ())]
    marked = {handler.operation_id for handler in handlers if handler.opt.get(MEDIA)}
    serving = _serving(json.loads((ROOT / "docs" / "openapi.json").read_text()))
    assert {"stream_video", "get_segment", "get_thumbnail", "export_video"} <= serving
    assert serving <= marked, serving - marked
