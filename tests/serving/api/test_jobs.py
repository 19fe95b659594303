"""Jobs over HTTP: listed, put, submitted together, stopped, and what becomes of their videos."""

import asyncio

import pytest

from serving.jobs import outcomes
from serving.jobs.lease import MAX_DEATHS, Problem
from tests.serving.api.conftest import Api

#: What a job's `error` has, whoever tells it.
PROBLEM = {"type", "title", "status", "code", "detail", "retryable"}


#: Thirty jobs, two of the same time each.
ROWS = """
    INSERT INTO job (tenant_id, id, video_id, spec, feature_key, state, created_at, batch_id, priority, attempt, deaths,
        max_attempts, fence, cancel_requested, progress, metrics, event_number)
    SELECT 'a', 'job_' || n, 'vid_a', '{}', n::text, (ARRAY['queued', 'failed'])[1 + n % 2],
        timestamptz '2024-01-01Z' + n / 2 * interval '1 s', CASE WHEN n > 20 THEN 'bat_1' END, 0, 0, 0, 5, 0, false,
        '{}', '{}', 0
    FROM generate_series(1, 30) n
"""


async def _posted(api: Api, **request) -> str:
    answer = await api.a.post("/v1/jobs", json={"video_id": "vid_a"} | request)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


async def _status(api: Api) -> str:
    ((row),) = await api.world.sql("SELECT status FROM video WHERE id = 'vid_a'")
    return row.status


async def _listed(api: Api, **query) -> list[str]:
    answer = await api.a.get("/v1/jobs", params=query)
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["data"]]


def test_lists(call):
    async def body(api):
        await api.world.change(ROWS)
        every = [f"job_{n}" for n in sorted(range(1, 31), key=lambda n: (n // 2, f"job_{n}"), reverse=True)]
        moment = "2024-01-01T00:00:10Z"
        for query, wanted in [
            ({}, every),
            ({"state": "failed"}, [job for job in every if int(job[4:]) % 2]),
            ({"state": "running"}, []),
            ({"video_id": "vid_a", "batch_id": "bat_1"}, [job for job in every if int(job[4:]) > 20]),
            ({"video_id": "vid_b"}, []),
            ({"created_after": moment}, [job for job in every if int(job[4:]) // 2 > 10]),
            ({"created_before": moment}, [job for job in every if int(job[4:]) // 2 < 10]),
        ]:
            assert await _listed(api, limit=100, **query) == wanted, query
        page = (await api.a.get("/v1/jobs", params={"limit": 7})).json()
        assert "spec" not in page["data"][0]
        assert page["data"][0]["links"]["report"] == f"/v1/jobs/{every[0]}/report"
        assert await _listed(api, limit=100, cursor=page["next_cursor"]) == every[7:]
        for wrong in (
            {"state": "done"},
            {"created_after": "2024-01-01T00:00:00"},
            {"cursor": page["next_cursor"], "state": "failed"},
        ):
            assert (await api.a.get("/v1/jobs", params=wrong)).status_code == 400, wrong

    call(body)


def test_a_failure_is_a_problem_wherever_it_is_told(call):
    async def body(api):
        hook = await api.a.post("/v1/webhooks", json={"url": "https://example.com/hook"})
        assert hook.status_code == 201
        job = await _posted(api)
        lease = await api.world.queue.claim("w")
        again = Problem(code="decode_timeout", detail="slow", retryable=True)
        assert await outcomes.fail(api.world.database, lease, again)
        waits = (await api.a.get(f"/v1/jobs/{job}")).json()["error"]
        assert (waits["code"], waits["retryable"], waits["status"]) == ("decode_timeout", True, 422)
        await api.world.change("UPDATE job SET run_after = now()")
        lease = await api.world.queue.claim("w")
        await outcomes.fail(api.world.database, lease, Problem(code="corrupt", detail="broken"))
        error = (await api.a.get(f"/v1/jobs/{job}")).json()["error"]
        assert error["type"] == "/problems/corrupt"
        assert (await api.nobody.get(error["type"])).status_code == 200
        told = await api.world.sql("SELECT data FROM event WHERE kind IN ('failed', 'queued') ORDER BY number")
        (message,) = await api.world.sql("SELECT payload FROM webhook_message")
        errors = [row.data["error"] for row in told[1:]] + [message.payload["error"]]
        assert [set(one) for one in errors] == [PROBLEM] * 3
        assert {key: error[key] for key in PROBLEM} == errors[-1] == errors[-2]

    call(body)


def test_a_job_that_is_quarantined_says_so_alike(call):
    async def body(api):
        job = await _posted(api)
        for _ in range(MAX_DEATHS):
            await api.world.queue.claim("w")
            await api.world.change("UPDATE job SET lease_until = now() - interval '1 s'")
            await api.world.queue.reap()
        found = (await api.a.get(f"/v1/jobs/{job}")).json()
        assert (found["state"], found["error"]["code"], found["metrics"]) == ("failed", "quarantined", None)
        assert await _status(api) == "failed"

    call(body)


def test_an_id_is_one_job_whoever_made_it(call):
    async def body(api):
        request = {"video_id": "vid_a", "spec": {"model": "bundled"}, "priority": 2}
        posted = await _posted(api, **request)
        same = await api.a.put(f"/v1/jobs/{posted}", json=request)
        assert same.status_code == 202, same.text
        assert same.json()["id"] == posted
        for change in ({"priority": 1}, {"spec": {}}, {"timeout_s": 5}):
            other = await api.a.put(f"/v1/jobs/{posted}", json=request | change)
            assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused"), change
        answers = await asyncio.gather(*(api.a.put("/v1/jobs/mine", json=request) for _ in range(50)))
        assert {(answer.status_code, answer.json()["id"]) for answer in answers} == {(202, "mine")}
        assert len(await api.world.sql("SELECT id FROM job WHERE id = 'mine'")) == 1
        kinds = await api.world.sql("SELECT kind FROM event WHERE job_id = 'mine'")
        assert [row.kind for row in kinds] == ["queued"]

    call(body)


def test_an_id_is_free_again_when_its_job_went_with_its_video(call):
    async def body(api):
        await api.a.put("/v1/jobs/mine", json={"video_id": "vid_a"})
        await api.world.change("DELETE FROM job")
        again = await api.a.put("/v1/jobs/mine", json={"video_id": "vid_a"})
        assert (again.status_code, again.json()["state"]) == (202, "queued")

    call(body)


def test_a_video_is_as_its_jobs_are(call):
    async def body(api):
        world = api.world
        assert await _status(api) == "uploaded"
        first = await _posted(api)
        assert await _status(api) == "analyzing"
        await api.a.post(f"/v1/jobs/{first}/cancel")
        assert await _status(api) == "uploaded"
        await api.a.post(f"/v1/jobs/{first}/retry")
        assert await _status(api) == "analyzing"
        lease = await world.queue.claim("w")
        await api.a.post(f"/v1/jobs/{first}/cancel")
        assert await _status(api) == "analyzing", "it still runs"
        await outcomes.canceled(world.database, lease)
        assert await _status(api) == "uploaded"
        await api.a.post(f"/v1/jobs/{first}/retry")
        await outcomes.fail(world.database, await world.queue.claim("w"), Problem(code="corrupt", detail="x"))
        assert await _status(api) == "failed"
        second = await _posted(api, priority=1)
        assert await _status(api) == "analyzing"
        await api.a.post(f"/v1/jobs/{second}/cancel")
        assert await _status(api) == "failed"
        third = await _posted(api)
        await world.queue.claim("w")
        await api.a.post(f"/v1/jobs/{third}/cancel")
        await world.change("UPDATE job SET lease_until = now() - interval '1 s' WHERE state = 'running'")
        await world.queue.reap()
        assert await _status(api) == "failed", "its worker died while it was to be canceled"

    call(body)


def test_many_at_once_leave_a_video_as_it_is(call):
    async def body(api):
        jobs = [f"job-{n}" for n in range(20)]
        spec = [{"video_id": "vid_a", "spec": {"model": f"m{n}"}} for n in range(20)]
        await asyncio.gather(*(api.a.put(f"/v1/jobs/{job}", json=one) for job, one in zip(jobs, spec, strict=True)))
        answers = await asyncio.gather(*(api.a.post(f"/v1/jobs/{job}/cancel") for job in jobs))
        assert {answer.status_code for answer in answers} == {202}
        assert await _status(api) == "uploaded"

    call(body)


def test_batches(call):
    async def body(api):
        request = {"jobs": [{"video_id": "vid_a", "priority": n} for n in range(5)]}
        key = {"Idempotency-Key": "once"}
        answers = await asyncio.gather(*(api.a.post("/v1/jobs/batch", json=request, headers=key) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {202}
        (batch,) = {answer.json()["id"] for answer in answers}
        assert len(await _listed(api, batch_id=batch)) == 5
        other = await api.a.post("/v1/jobs/batch", json={"jobs": request["jobs"][:1]}, headers=key)
        assert other.json()["code"] == "idempotency_key_reused"
        # The same key of another operation is another key.
        assert (await api.a.post("/v1/jobs", json={"video_id": "vid_a"}, headers=key)).status_code == 202
        await api.world.queue.claim("w")
        answer = await api.a.post(f"/v1/jobs/batch/{batch}/cancel")
        assert (answer.status_code, answer.json()["counts"]) == (202, {"canceled": 4, "running": 1})
        again = await api.a.post(f"/v1/jobs/batch/{batch}/cancel")
        assert again.json() == answer.json() == (await api.a.get(f"/v1/jobs/batch/{batch}")).json()
        messages = await api.world.sql("SELECT count(*) AS n FROM event WHERE kind = 'canceled'")
        assert messages[0].n == 4
        nothing = await api.a.post("/v1/jobs/batch", json={"jobs": [{"video_id": "vid_a"}, {"video_id": "vid_b"}]})
        assert nothing.status_code == 404
        assert len(await _listed(api)) == 6

    call(body)


@pytest.mark.parametrize("timeout", [0, -1, 1e9, "soon"])
def test_a_timeout_that_cannot_be_is_refused(call_shared, timeout):
    async def body(api):
        answer = await api.a.post("/v1/jobs", json={"video_id": "vid_a", "timeout_s": timeout})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")

    call_shared(body)
