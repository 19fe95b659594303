"""A video that was deleted is nowhere: no row of any table, no object, no interface has anything of it."""

import asyncio

import pytest

from serving.db.tables import METADATA
from serving.errors import LeaseLost
from serving.jobs import outcomes
from serving.rights import erasing, journal
from tests.serving.api.fuzz_world import METRICS
from tests.serving.rights.conftest import analyzed, call, lived_in, marked, uploaded, url

__all__ = ["call", "url"]

#: Where the id of a video that is gone may be: that it is, who did it, and in which order libraries are gone through.
MAY_NAME_IT = {"erasure", "audit"}


async def _holding(world, *words: str) -> dict[str, int]:
    """Table -> rows in which one of the words is, whatever the column."""
    found = {}
    for table in METADATA.sorted_tables:
        query = f'SELECT count(*) FROM "{table.name}" t WHERE to_jsonb(t)::text ~ :word'
        ((count,),) = await world.sql(query, word="|".join(words))
        if count:
            found[table.name] = count
    return found


async def _objects(store) -> list[str]:
    return sorted([key for prefix in ("videos", "uploads") async for keys in store.keys(prefix) for key in keys])


async def _asked(api, video: str) -> dict[str, tuple[int, str]]:
    """What every interface says about a video."""
    here = f"/v1/videos/{video}"
    parts = ("", "/report", "/segments", "/shots", "/tags", "/signals", "/copies", "/similar", "/hold")
    lists = ("/v1/videos", "/v1/jobs", "/v1/copies", "/v1/corrections", "/v1/uploads", "/v1/taggings")
    found = {}
    for path in (*(here + part for part in parts), *lists):
        answer = await api.a.get(path)
        found[path.replace(video, "it")] = answer.status_code, answer.text
    return found


def test_nothing_of_it_is_left_and_all_of_the_others(call, sample_report):
    async def body(api):
        other = await lived_in(api, "OTHERS", sample_report)
        video = await lived_in(api, "CANARY", sample_report, other)
        webhook = {"url": "https://example.com/hook"}
        assert (await api.a.post("/v1/webhooks", json=webhook)).status_code == 201
        jobs = (await api.a.get("/v1/jobs", params={"video_id": video})).json()["data"]
        ((sha256,),) = await api.world.sql("SELECT sha256 FROM video WHERE id = :id", id=video)
        # Bytes are shown as hexadecimal digits.
        ids = [video, sha256, "[Cc]anary|CANARY", b"CANARY".hex(), *(job["id"] for job in jobs), f"upl_{video}"]
        before = await _holding(api.world, *ids)
        # Or it would be no wonder that nothing is found.
        refer = {table.name for table in METADATA.sorted_tables if "video_id" in table.columns}
        rest = {"checkpoint", "idempotency_key", "webhook_message", "learned_label", "event", "data_key"}
        assert set(before) >= (refer | rest) - {"legal_hold", "upload_part", "erasure", "lexeme"}, before
        others = await _holding(api.world, other, "OTHERS")
        (kept,) = [key for key in await _objects(api.store) if other in key]
        # What was said of both is learnt by now.
        await api.world.change("UPDATE learning SET state = 'done'")

        assert (await api.a.delete(f"/v1/videos/{video}")).status_code == 204

        left = await _holding(api.world, *ids)
        assert set(left) <= MAY_NAME_IT, left
        assert await _holding(api.world, "[Cc]anary", "CANARY", sha256) == {}
        assert await _objects(api.store) == [kept]
        asked = await _asked(api, video)
        assert {path: code for path, (code, _) in asked.items() if code not in (200, 404)} == {}
        assert all(code == 404 for path, (code, _) in asked.items() if path.startswith("/v1/videos/it"))
        assert not [
            path for path, (_, said) in asked.items() if "CANARY" in said or (video in said and "it" not in path)
        ]
        assert (await api.a.get(f"/v1/jobs/{jobs[0]['id']}")).status_code == 404
        # Of the other one all that there was, but for what the two had in common.
        assert others.items() - (await _holding(api.world, other, "OTHERS")).items() <= {("video_copy", 1)}
        ((gained, lost),) = await api.world.sql("SELECT gained_videos, lost_videos FROM learned_label")
        assert (gained, lost) == ([other], [other])
        # What was learnt of it is learnt anew.
        assert await api.world.sql("SELECT label FROM learning WHERE state = 'due' AND label = 'a dog'")
        # The same request is a new one now.
        again = await api.a.post("/v1/jobs", json={"video_id": other}, headers={"Idempotency-Key": "CANARY-key"})
        assert again.status_code == 202

    call(body)


def test_a_record_stays_that_says_nothing_of_it(call, sample_report):
    async def body(api):
        video = await lived_in(api, "CANARY", sample_report)
        await api.a.delete(f"/v1/videos/{video}")
        answer = await api.a.get("/v1/erasures", params={"video_id": video})
        (record,) = answer.json()["data"]
        assert record["reason"] == "request"
        assert record["finished_at"] is not None
        assert record["counts"] | {"vectors": 0} == {
            "jobs": 2,
            "reports": 1,
            "corrections": 2,
            "uploads": 1,
            "webhook_messages": 1,
            "objects": 1,
            "vectors": 0,
        }
        assert record["counts"]["vectors"] > 0
        assert "canary" not in answer.text.lower()
        (entry,) = await journal.read(api.store)
        assert (entry.id, entry.tenant_id, entry.video_id) == (record["id"], "a", video)
        assert (await api.b.get("/v1/erasures")).json()["data"] == []

    call(body)


def test_a_worker_that_has_it_writes_nothing_more(call, sample_report):
    async def body(api):
        video = (await uploaded(api.a, b"film"))["id"]
        await api.a.post("/v1/jobs", json={"video_id": video})
        lease = await api.world.queue.claim("w")
        assert (await api.a.delete(f"/v1/videos/{video}")).status_code == 204
        with pytest.raises(LeaseLost):
            await api.world.queue.renew(lease)
        with pytest.raises(LeaseLost):
            await api.world.queue.checkpoint(lease, [("clip", b"late")])
        with pytest.raises(LeaseLost):
            await outcomes.succeed(api.world.database, api.store.keyring, lease, sample_report, METRICS)
        assert set(await _holding(api.world, video, lease.job_id)) <= MAY_NAME_IT

    call(body)


def test_what_a_crash_leaves_is_finished(call, monkeypatch):
    async def body(api):
        video = (await uploaded(api.a, b"film"))["id"]
        real = api.store.delete

        async def full(key: str) -> None:
            raise OSError("the disk is away")

        monkeypatch.setattr(api.store, "delete", full)
        assert (await api.a.delete(f"/v1/videos/{video}")).status_code == 204
        monkeypatch.setattr(api.store, "delete", real)
        (record,) = (await api.a.get("/v1/erasures")).json()["data"]
        assert record["finished_at"] is None
        assert len(await _objects(api.store)) == 1
        # What a restore has to know comes first; and whoever begins has a minute for it.
        assert [entry.video_id for entry in await journal.read(api.store)] == [video]
        assert await erasing.finish_left(api.world.database, api.store) == 0
        await api.world.change("UPDATE erasure SET at = at - interval '1 h'")
        both = await asyncio.gather(*(erasing.finish_left(api.world.database, api.store) for _ in range(2)))
        assert max(both) == 1
        assert await _objects(api.store) == []
        (record,) = (await api.a.get("/v1/erasures")).json()["data"]
        assert record["finished_at"] is not None
        assert len(await journal.read(api.store)) == 1

    call(body)


def test_all_objects_of_it_go(call):
    """Whatever is kept beside its bytes: pictures, renditions."""

    async def body(api):
        from serving.storage.store import video_at

        video = (await uploaded(api.a, b"film"))["id"]
        beside = f"videos/{video}-poster"

        async def picture():
            yield b"picture"

        written = await api.store.put(video_at("a", beside), picture())
        async with api.world.database.write("video.write", "a") as session:
            await api.store.keyring.keep(session, "a", beside, written.key, video_id=video)
        assert len(await _objects(api.store)) == 2
        assert (await api.a.delete(f"/v1/videos/{video}")).status_code == 204
        assert await _objects(api.store) == []
        assert await api.world.sql("SELECT object_key FROM data_key") == []
        # That its keys are destroyed is in its tenant's log, in one line.
        ((tenant, targets, count),) = await api.world.sql(
            "SELECT tenant_id, targets, count FROM audit WHERE operation = 'key.destroy'"
        )
        assert (tenant, list(targets), count) == ("a", [video], 2)

    call(body)


def test_it_can_come_again(call, sample_report):
    async def body(api):
        first = (await uploaded(api.a, b"film"))["id"]
        await analyzed(api, api.a, first, marked(sample_report, "x"))
        await api.a.delete(f"/v1/videos/{first}")
        second = await uploaded(api.a, b"film")
        assert (second["id"] != first, second["status"]) == (True, "uploaded")
        assert (await api.a.get(f"/v1/videos/{second['id']}/report")).status_code == 404

    call(body)


def test_a_batch_that_others_are_in_is_known_by_its_key_still(call):
    """Whoever sends it again, for the answer was lost, has no jobs made twice."""

    async def body(api):
        videos = [(await uploaded(api.a, content))["id"] for content in (b"one", b"two")]

        async def sent() -> tuple[int, dict]:
            asked = {"jobs": [{"video_id": video} for video in videos]}
            answer = await api.a.post("/v1/jobs/batch", json=asked, headers={"Idempotency-Key": "both"})
            return answer.status_code, answer.json()

        _, first = await sent()
        assert (await api.a.delete(f"/v1/videos/{videos[0]}")).status_code == 204
        assert await sent() == (202, {"id": first["id"], "counts": {"queued": 1}})
        assert (await api.a.delete(f"/v1/videos/{videos[1]}")).status_code == 204
        assert (await sent())[0] == 404

    call(body)
