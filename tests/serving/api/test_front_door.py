"""What a frontend does, over HTTP."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from pipeline.synthesis import Encoding, write_video
from serving.auth.credentials import TRUSTED_S
from serving.auth.principals import ROLES
from serving.jobs import outcomes
from serving.jobs.lease import Problem
from tests.formats.chart import moments
from tests.serving.blobs import Blobs
from tests.serving.sealing import kept


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> bytes:
    """A second of video."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_video(path, moments(12), fps=12, encoding=Encoding(gop=6)).read_bytes()


def _problem(answer: httpx.Response, status: int, code: str) -> dict:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    problem = answer.json()
    assert (problem["status"], problem["code"], problem["type"]) == (status, code, f"/problems/{code}")
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"].startswith("req_")
    return problem


async def _uploaded(client, film: bytes, **query) -> str:
    answer = await client.post("/v1/videos", content=film, params=query)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_a_video_is_uploaded_once_however_often_it_is_sent(call, film):
    async def body(api):
        first = await api.a.post("/v1/videos", content=film, params={"filename": "film.mp4", "title": "A film"})
        again = await api.a.post("/v1/videos", content=film)
        theirs = await api.b.post("/v1/videos", content=film)
        assert (first.status_code, again.status_code, theirs.status_code) == (201, 200, 201)
        assert first.json()["id"] == again.json()["id"] != theirs.json()["id"]
        assert first.headers["location"] == f"/v1/videos/{first.json()['id']}"
        assert first.json()["size_bytes"] == len(film)
        blobs = Blobs(api.store)
        keys = await asyncio.to_thread(blobs.keys)
        assert set(keys) == {f"videos/{one.json()['id']}" for one in (first, theirs)}
        for key in keys:
            blob = blobs.read(key)
            assert await kept(api.world.database, api.store, key) == film
            assert not any(film[at : at + 16] in blob for at in range(0, len(film) - 16, 16))

    call(body)


@pytest.mark.parametrize(("content", "code", "status"), [(b"", "invalid_request", 400), (b"#EXTM3U\n", None, 422)])
def test_what_is_no_video_is_refused_and_not_kept(call_shared, content, code, status):
    async def body(api):
        _problem(await api.a.post("/v1/videos", content=content), status, code or "unsupported_container")
        assert await asyncio.to_thread(Blobs(api.store).keys) == []

    call_shared(body)


def test_titles_labels_and_metadata(call, film):
    async def body(api):
        video = await _uploaded(api.a, film, title="One")
        patch = {"labels": ["x", "y"], "user_metadata": {"project": 7}}
        changed = (await api.a.patch(f"/v1/videos/{video}", json=patch)).json()
        assert (changed["title"], changed["labels"], changed["user_metadata"]) == ("One", ["x", "y"], {"project": 7})
        for query, found in [({"label": "y"}, 1), ({"label": "z"}, 0), ({"q": "ONE"}, 1), ({"q": "%"}, 0)]:
            assert len((await api.a.get("/v1/videos", params=query)).json()["data"]) == found, query
        problem = _problem(await api.a.patch(f"/v1/videos/{video}", json={"titel": "x"}), 400, "invalid_request")
        assert "titel" in str(problem["errors"])
        large = {"user_metadata": {"x": "y" * 20_000}}
        _problem(await api.a.patch(f"/v1/videos/{video}", json=large), 400, "invalid_request")
        assert (await api.a.delete(f"/v1/videos/{video}")).status_code == 204
        _problem(await api.a.get(f"/v1/videos/{video}"), 404, "not_found")
        left = await asyncio.to_thread(Blobs(api.store).keys)
        assert [key.partition("/")[0] for key in left] == ["erasures"], "that it was erased, and nothing of it"

    call(body)


def test_pages_hold_everything_once_while_more_comes_in(call):
    async def body(api):
        rows = "SELECT 'vid_' || lpad(n::text, 26, '0'), 'a', 'n' || n, 1, 'h' || n, 'k', now() - n * interval '1 s'"
        await api.world.change(
            "INSERT INTO video (id, tenant_id, title, size_bytes, sha256, object_key, created_at, labels,"
            f" user_metadata, status) {rows}, '{{}}', '{{}}', 'uploaded' FROM generate_series(1, 53) n"
        )
        seen, cursor = [], None
        while True:
            params = {"limit": 10} | ({"cursor": cursor} if cursor else {})
            page = (await api.a.get("/v1/videos", params=params)).json()
            seen += [video["id"] for video in page["data"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
            await api.world.change("UPDATE video SET created_at = now() WHERE id = 'vid_a'")
        assert len(seen) == len(set(seen))
        assert len(set(seen) - {"vid_a"}) == 53
        _problem(await api.a.get("/v1/videos", params={"cursor": "nonsense"}), 400, "invalid_request")
        _problem(await api.a.get("/v1/videos", params={"limit": 0}), 400, "invalid_request")

    call(body)


def test_a_key_makes_one_job_of_many_requests(call):
    async def body(api):
        request = {"video_id": "vid_a", "spec": {"sampling": {"fps": 2}}}
        answers = await asyncio.gather(
            *(api.a.post("/v1/jobs", json=request, headers={"Idempotency-Key": "k"}) for _ in range(100))
        )
        assert {answer.status_code for answer in answers} == {202}
        (job,) = {answer.json()["id"] for answer in answers}
        assert answers[0].headers["location"] == f"/v1/jobs/{job}"
        assert len((await api.a.get("/v1/jobs")).json()["data"]) == 1
        other = await api.a.post("/v1/jobs", json=request | {"priority": 1}, headers={"Idempotency-Key": "k"})
        _problem(other, 422, "idempotency_key_reused")
        mine = [await api.a.put("/v1/jobs/mine", json=request) for _ in range(2)]
        assert [answer.json()["id"] for answer in mine] == ["mine", "mine"]

    call(body)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"sampling": {"fps": 0}}, "sampling.fps"),
        ({"segments": {"weights": {"smell": 1}}}, "smell"),
        ({"labels": [{"name": "a"}, {"name": "a"}]}, "twice"),
    ],
)
def test_a_spec_that_cannot_be_is_refused_by_its_field(call_shared, spec, says):
    async def body(api):
        answer = await api.a.post("/v1/jobs", json={"video_id": "vid_a", "spec": spec})
        assert says in _problem(answer, 400, "invalid_spec")["detail"]

    call_shared(body)


def test_waiting_for_a_job(call):
    async def body(api):
        request = {"video_id": "vid_a"}
        began = time.monotonic()
        early = await api.a.post("/v1/jobs", json=request, headers={"Prefer": "wait=1"})
        assert (early.status_code, early.headers["preference-applied"]) == (202, "wait=1")
        assert 0.9 < time.monotonic() - began < 5

        async def work() -> None:
            await asyncio.sleep(0.3)
            # Of two with the same features the older is done first.
            for _ in range(2):
                lease = await api.world.queue.claim("w")
                await outcomes.fail(api.world.database, lease, Problem(code="corrupt", detail="broken"))

        working = asyncio.create_task(work())
        late = await api.a.put(f"/v1/jobs/{early.json()['id']}x", json=request, headers={"Prefer": "wait=60"})
        await working
        assert (late.status_code, late.json()["state"]) == (200, "failed")
        assert late.json()["error"]["code"] == "corrupt"
        assert time.monotonic() - began < 40, "it waited although the job was over"

    call(body)


def test_who_may_do_what(call_shared):
    async def body(api):
        viewer = await api.with_key("a", ROLES["viewer"])
        assert (await viewer.get("/v1/jobs")).status_code == 200
        _problem(await viewer.post("/v1/jobs", json={"video_id": "vid_a"}), 403, "forbidden")
        expired = await api.with_key("a", expires_at=datetime.now(UTC) - timedelta(seconds=1))
        for client in (api.nobody, expired, await api.client("aut_wrong"), await api.client("eyJ")):
            answer = await client.get("/v1/jobs")
            _problem(answer, 401, "unauthenticated")
            assert answer.headers["www-authenticate"] == "Bearer"

    call_shared(body)


def test_keys_are_shown_once_and_revoked_at_once(call):
    async def body(api):
        made = (await api.a.post("/v1/keys", json={"name": "ci", "scopes": ["jobs:read"]})).json()
        client = await api.client(made["key"])
        assert (await client.get("/v1/jobs")).status_code == 200
        listed = (await api.a.get("/v1/keys")).json()["data"]
        assert made["key"] not in str(listed)
        assert {key["hint"] for key in listed if key["id"] == made["about"]["id"]} == {made["key"][:8]}
        _problem(await api.b.delete(f"/v1/keys/{made['about']['id']}"), 404, "not_found")
        assert (await api.a.delete(f"/v1/keys/{made['about']['id']}")).status_code == 204
        await asyncio.sleep(TRUSTED_S)
        _problem(await client.get("/v1/jobs"), 401, "unauthenticated")
        limited = await api.with_key("a", frozenset({"keys:manage"}))
        more = await limited.post("/v1/keys", json={"name": "more", "scopes": ["jobs:read"]})
        assert "jobs:read" in _problem(more, 403, "forbidden")["detail"]
        rows = await api.world.sql("SELECT api_key::text FROM api_key")
        assert made["key"] not in str(rows)

    call(body)


def test_what_is_anothers_is_answered_like_what_is_not_there(call):
    async def body(api):
        job = (await api.b.post("/v1/jobs", json={"video_id": "vid_b"})).json()["id"]
        pairs = [
            ("GET", f"/v1/jobs/{job}", "/v1/jobs/job_00000000000000000000000000"),
            ("GET", f"/v1/jobs/{job}/events", "/v1/jobs/job_00000000000000000000000000/events"),
            ("POST", f"/v1/jobs/{job}/cancel", "/v1/jobs/job_00000000000000000000000000/cancel"),
            ("POST", f"/v1/jobs/{job}/retry", "/v1/jobs/job_00000000000000000000000000/retry"),
        ]
        for method, theirs, missing in pairs:
            answers = [await api.a.request(method, path) for path in (theirs, missing)]
            told = [{k: v for k, v in answer.json().items() if k != "request_id"} for answer in answers]
            assert told[0] == told[1]
            assert told[0]["status"] == 404
        assert (await api.a.get("/v1/jobs")).json()["data"] == []

    call(body)


def test_health_and_problems_need_no_key(call_shared):
    async def body(api):
        assert (await api.nobody.get("/livez")).json() == {"checks": {"api": "ok"}}
        ready = await api.nobody.get("/readyz", params={"part": "api"})
        assert (ready.status_code, set(ready.json()["checks"].values())) == (200, {"ok"})
        page = await api.nobody.get("/problems/not_found")
        assert "What to do" in page.text
        _problem(await api.nobody.get("/nowhere"), 404, "not_found")
        _problem(await api.a.put("/v1/videos"), 405, "method_not_allowed")
        allowed = await api.nobody.options("/v1/videos")
        assert (allowed.status_code, "GET" in allowed.headers["allow"]) == (204, True)

    call_shared(body)
