"""A video is asked for by its URL, through the real API, and fetched from a real server."""

import asyncio
import hashlib

import msgspec
import pytest

from serving.auth.principals import SCOPES
from tests.serving.fetching.conftest import OPTIONS, asked, fetching, holding, named, objects, over, seen
from tests.serving.sealing import kept
from tests.serving.webhooks.receiver import receiving


def test_from_a_url_to_a_video_and_its_job(call, film):
    async def body(api):
        async with receiving(holding(film, "content-disposition: attachment; filename=../ours.mp4")) as there:
            where = named(there, "/a/b.mp4?token=secret")
            upload = await asked(api, where, title="Ours", job={"spec": {"model": "bundled"}, "priority": 3})
            assert (upload["status"], upload["method"], upload["received_bytes"]) == ("waiting", "url", 0)
            assert upload["url"] == where.partition("?")[0]
            async with fetching(api):
                done = await over(api, upload)
            assert [one.path for one in there.asked] == ["/a/b.mp4?token=secret"]
        assert (done["status"], done["error"], done["attempts"]) == ("completed", None, 1)
        assert done["received_bytes"] == done["size_bytes"] == len(film)
        assert done["sha256"] == hashlib.sha256(film).hexdigest()
        video = (await api.a.get(done["links"]["video"])).json()
        assert (video["title"], video["filename"], video["sha256"]) == ("Ours", "ours.mp4", done["sha256"])
        job = (await api.a.get(done["links"]["job"])).json()
        assert (job["video_id"], job["state"], job["priority"]) == (video["id"], "queued", 3)
        assert job["spec"]["model"] == "bundled"
        assert video["status"] == "analyzing"
        assert (await api.b.get(upload["links"]["self"])).status_code == 404
        assert await kept(api.world.database, api.store, f"videos/{video['id']}") == film

    call(body)


def test_the_same_bytes_are_the_same_video(call, film):
    async def body(api):
        first = (await api.a.post("/v1/videos", content=film)).json()
        async with receiving(holding(film)) as there, fetching(api):
            done = await over(api, await asked(api, named(there), job={}))
        assert done["video_id"] == first["id"]
        assert await objects(api) == [f"videos/{first['id']}"]
        assert len(await api.world.sql("SELECT * FROM job")) == 1

    call(body)


def test_a_key_makes_one_upload_however_often_it_comes(call, film):
    async def body(api):
        async with receiving(holding(film)) as there:
            body = {"url": named(there), "job": {}}
            key = {"Idempotency-Key": "once"}
            many = await asyncio.gather(*(api.a.post("/v1/uploads/url", json=body, headers=key) for _ in range(20)))
            assert {(one.status_code, one.json()["id"]) for one in many} == {(202, many[0].json()["id"])}
            other = await api.a.post("/v1/uploads/url", json=body | {"title": "x"}, headers=key)
            assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
            assert (await api.b.post("/v1/uploads/url", json=body, headers=key)).json()["id"] != many[0].json()["id"]
            # Jobs have keys of their own.
            assert (await api.a.post("/v1/jobs", json={"video_id": "vid_a"}, headers=key)).status_code == 202
            async with fetching(api):
                done = await over(api, many[0].json())
            again = (await api.a.post("/v1/uploads/url", json=body, headers=key)).json()
        assert again == done
        assert len(await api.world.sql("SELECT * FROM upload WHERE tenant_id = 'a'")) == 1

    call(body)


def test_a_job_needs_its_own_scope(call):
    async def body(api):
        client = await api.with_key("a", SCOPES - {"jobs:write"})
        for job, status in ((None, 202), ({}, 403)):
            answer = await client.post("/v1/uploads/url", json={"url": "http://example.com/x.mp4", "job": job})
            assert answer.status_code == status
        bad = {"url": "http://example.com/x.mp4", "job": {"spec": {"sampling": {"fps": -1}}}}
        assert (await api.a.post("/v1/uploads/url", json=bad)).status_code == 400

    call(body)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\n\r\n<html>" + b"x" * 5000, "unsupported_container"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "unsupported_container"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n", "too_large"),
        (b"HTTP/1.1 200 OK\r\n\r\n\x1aE\xdf\xa3" + b"x" * 2_000_000, "too_large"),
        (b"HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n", "fetch_failed"),
        (b"HTTP/1.1 403 X\r\ncontent-length: 0\r\nretry-after: 1\r\n\r\n", "fetch_failed"),
        (b"HTTP/1.1 302 X\r\ncontent-length: 0\r\nlocation: http://10.0.0.1/\r\n\r\n", "address_refused"),
    ],
)
def test_what_will_not_pass_ends_it(call, answer, code):
    async def body(api):
        async with receiving(lambda _: answer) as there, fetching(api):
            done = await over(api, await asked(api, named(there)))
            assert (done["status"], done["error"]["code"], done["attempts"]) == ("errored", code, 1)
            assert done["video_id"] is None
            assert len(there.asked) == 1
        assert await objects(api) == []

    call(body)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 429 X\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 50000\r\n\r\n\x1aE\xdf\xa3" + b"x" * 2000,
        None,
    ],
)
def test_what_may_pass_is_tried_again_up_to_a_number(call, film, answer, at_once):
    async def body(api):
        fails = 2

        def answers(one):
            return answer if len(there.asked) <= fails else holding(film)(one)

        async with receiving(answers) as there, fetching(api):
            done = await over(api, await asked(api, named(there)))
            assert (done["status"], done["attempts"], done["error"]) == ("completed", 3, None)
            fails = 1000
            done = await over(api, await asked(api, named(there)))
            assert (done["status"], done["error"]["code"], done["attempts"]) == ("errored", "fetch_failed", 4)

    call(body)


@pytest.mark.parametrize(("said", "least_s", "most_s"), [("100", 80, 120), ("1", 4, 6), ("999999", 3000, 4000)])
def test_retry_after_is_heeded_within_bounds(call, said, least_s, most_s):
    async def body(api):
        answer = f"HTTP/1.1 429 X\r\ncontent-length: 0\r\nretry-after: {said}\r\n\r\n".encode()
        async with receiving(lambda _: answer) as there, fetching(api):
            upload = await asked(api, named(there))
            async with asyncio.timeout(10):
                while (await seen(api, upload))["error"] is None:
                    await asyncio.sleep(0.02)
            now = await seen(api, upload)
        assert (now["status"], now["error"]["code"]) == ("waiting", "fetch_failed")
        ((wait_s,),) = await api.world.sql("SELECT extract(epoch FROM next_at - now()) FROM upload")
        assert least_s < wait_s < most_s

    call(body)


def test_nobody_sends_pieces_of_what_is_fetched(call):
    async def body(api):
        upload = await asked(api, "http://films.example.com/x.mp4")
        tus = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        for method in ("PATCH", "HEAD"):
            answer = await api.a.request(method, upload["links"]["self"], headers=tus)
            assert answer.status_code == 409
        assert (await seen(api, upload))["received_bytes"] == 0

    call(body)


def test_the_quota_bounds_it(call, film):
    options = msgspec.structs.replace(OPTIONS, tenant_max_bytes=len(film))

    async def body(api):
        # One byte is used by a video that is there.
        async with fetching(api, options):
            for headers in (f"content-length: {len(film)}\r\n", ""):
                answer = b"HTTP/1.1 200 OK\r\n" + headers.encode() + b"\r\n" + film
                async with receiving(lambda _, answer=answer: answer) as there:
                    done = await over(api, await asked(api, named(there)))
                assert (done["status"], done["error"]["code"]) == ("errored", "quota_exceeded")
                assert done["error"]["status"] == 413
            await api.world.change("DELETE FROM video")
            async with receiving(holding(film)) as there:
                assert (await over(api, await asked(api, named(there))))["status"] == "completed"
        assert len(await objects(api)) == 1

    call(body)
