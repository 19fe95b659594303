"""What others do between a request and its answer."""

import asyncio

import msgspec
import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Engine

from serving.db.database import SYSTEM
from serving.db.statements import execute
from serving.jobs import following, outcomes
from serving.jobs.lease import Problem
from tests.serving.api.conftest import SETTINGS, served
from tests.serving.jobs.test_racing import _until_waiting

WAIT = {"Prefer": "wait=20"}


@pytest.mark.parametrize("change", [{"title": "x"}, {"labels": ["x"]}, {}])
def test_a_video_that_is_deleted_while_it_is_changed_is_not_there(call, change):
    async def body(api):
        async with api.world.database.write("clean.expired", SYSTEM) as session:
            await execute(session, text("DELETE FROM video WHERE id = :id"), id=video)
            changing = asyncio.create_task(api.a.patch(f"/v1/videos/{video}", json=change))
            await _until_waiting(api.world, 1)
        answer = await changing
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

    video = "vid_" + "0" * 26

    async def with_video(api):
        await api.world.change(
            "INSERT INTO video (id, tenant_id, title, size_bytes, sha256, object_key, labels, user_metadata, status) "
            "SELECT :id, tenant_id, title, size_bytes, 'c', 'c', labels, user_metadata, status FROM video "
            "WHERE id = 'vid_a'",
            id=video,
        )
        await body(api)

    call(with_video)


def test_who_waits_for_a_job_asks_nothing_meanwhile(call, monkeypatch):
    monkeypatch.setattr(following, "POLL_S", 3600.0)
    asked: list[str] = []

    def note(connection, cursor, statement, *_) -> None:
        if "FROM job" in statement:
            asked.append(statement)

    async def body(api):
        waiting = asyncio.create_task(api.a.post("/v1/jobs", json={"video_id": "vid_a"}, headers=WAIT))
        async with asyncio.timeout(10):
            while (lease := await api.world.queue.claim("w")) is None:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        event.listen(Engine, "before_cursor_execute", note)
        try:
            await asyncio.sleep(2.5)
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        assert asked == []
        await outcomes.fail(api.world.database, lease, Problem(code="corrupt", detail="x"))
        answer = await asyncio.wait_for(waiting, 10)
        assert (answer.status_code, answer.json()["state"]) == (200, "failed")
        assert answer.headers["Preference-Applied"] == "wait=20"

    call(body)


def test_who_waits_takes_the_place_of_a_stream_and_is_not_kept_where_there_is_none(call, url):
    async def body(api):
        settings = msgspec.structs.replace(
            SETTINGS, server=msgspec.structs.replace(SETTINGS.server, max_streams_per_tenant=1)
        )
        async with served(url, api.store, settings) as address:
            waiting = asyncio.create_task(api.a.post(f"{address}/v1/jobs", json={"video_id": "vid_a"}, headers=WAIT))
            async with asyncio.timeout(10):
                while (lease := await api.world.queue.claim("w")) is None:
                    await asyncio.sleep(0.02)
            # It is queued all the same: a refusal would have the caller send it again.
            async with asyncio.timeout(5):
                other = await api.a.post(f"{address}/v1/jobs", json={"video_id": "vid_a"}, headers=WAIT)
            assert (other.status_code, other.json()["state"]) == (202, "queued")
            assert "Preference-Applied" not in other.headers
            stream = await api.a.get(f"{address}/v1/jobs/{other.json()['id']}/events")
            assert stream.status_code == 429
            await outcomes.fail(api.world.database, lease, Problem(code="corrupt", detail="x"))
            assert (await asyncio.wait_for(waiting, 10)).status_code == 200
            # The place is free again.
            async with api.a.stream("GET", f"{address}/v1/jobs/{other.json()['id']}/events") as stream:
                assert stream.status_code == 200

    call(body)


def test_an_id_that_is_used_again_begins_anew(call):
    """Its first job was deleted with its video."""

    async def body(api):
        await api.world.change(
            "INSERT INTO video (id, tenant_id, title, size_bytes, sha256, object_key, labels, user_metadata, status) "
            "SELECT :id, tenant_id, title, size_bytes, 'c', 'c', labels, user_metadata, status FROM video "
            "WHERE id = 'vid_a'",
            id=video,
        )
        await api.a.put("/v1/jobs/mine", json={"video_id": video})
        lease = await api.world.queue.claim("w")
        for done in range(5):
            await api.world.queue.progress(lease, {"done": done})
        assert (await api.a.delete(f"/v1/videos/{video}")).status_code == 204
        await api.world.change("DELETE FROM idempotency_key")
        assert (await api.a.put("/v1/jobs/mine", json={"video_id": "vid_a"})).status_code == 202
        lease = await api.world.queue.claim("w")
        await outcomes.fail(api.world.database, lease, Problem(code="corrupt", detail="x"))
        answer = await api.a.get("/v1/jobs/mine/events", headers={"Last-Event-ID": "7"})
        assert answer.status_code == 200
        assert [line for line in answer.text.splitlines() if line.startswith("id: ")] == ["id: 1", "id: 2", "id: 3"]
        # Who saw its end is not told again.
        answer = await api.a.get("/v1/jobs/mine/events", headers={"Last-Event-ID": "3"})
        assert answer.status_code == 204

    video = "vid_" + "0" * 26
    call(body)


def test_a_stream_ends_where_its_id_becomes_another_jobs(call, monkeypatch):
    monkeypatch.setattr(following, "POLL_S", 0.05)

    async def body(api):
        await api.a.put("/v1/jobs/mine", json={"video_id": "vid_a"})
        lease = await api.world.queue.claim("w")
        for done in range(5):
            await api.world.queue.progress(lease, {"done": done})
        async with api.a.stream("GET", "/v1/jobs/mine/events") as stream, asyncio.timeout(10):
            lines = stream.aiter_lines()
            while await anext(lines) != "id: 7":
                pass
            # In one moment, so that nobody sees it gone.
            await api.world.change("WITH old AS (DELETE FROM event) UPDATE job SET event_number = 1")
            async for _ in lines:
                pass

    call(body)
