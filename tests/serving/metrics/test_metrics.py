"""What Prometheus is told, as it reads it."""

import asyncio
import re

import httpx
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from serving.db.database import Database
from serving.metrics.backlog import Backlog
from serving.metrics.meters import Meters
from tests.serving.api.conftest import SETTINGS, made_key, served
from tests.serving.sealing import store_at


async def _metrics(client: httpx.AsyncClient, **headers: str) -> dict[str, dict[frozenset, float]]:
    """Name -> labels -> value."""
    answer = await client.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found: dict[str, dict[frozenset, float]] = {}
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation, family.name
        assert family.type in ("counter", "gauge", "histogram"), family.name
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def _labels(**labels: str) -> frozenset:
    return frozenset(labels.items())


def test_requests_are_counted_by_operation_and_never_by_path(call):
    async def body(api):
        video = "vid_" + "0" * 26
        for _ in range(3):
            assert (await api.a.get(f"/v1/videos/{video}")).status_code == 404
        assert (await api.nobody.get("/v1/nowhere/" + video)).status_code == 404
        assert (await api.nobody.request("TRACE", "/v1/jobs")).status_code == 405
        assert (await api.nobody.get("/v1/jobs")).status_code == 401
        found = await _metrics(api.nobody)
        counted = found["automations_http_requests_total"]
        assert counted[_labels(operation="get_video", method="GET", status="404")] == 3
        assert counted[_labels(operation="list_jobs", method="GET", status="401")] == 1
        assert counted[_labels(operation="unmatched", method="GET", status="404")] == 1
        assert counted[_labels(operation="unmatched", method="other", status="405")] == 1
        assert found["automations_http_request_duration_seconds_count"][_labels(operation="get_video")] == 3
        assert found["automations_http_requests_in_progress"] == {frozenset(): 1}
        assert found["process_resident_memory_bytes"][frozenset()] > 1e6
        for name, samples in found.items():
            assert re.fullmatch(r"(automations|process)_[a-z0-9_]+", name)
            for label, value in (pair for labels in samples for pair in labels):
                assert label in {"operation", "method", "status", "policy", "state", "le"}, name
                assert not re.search(r"[0-9A-Z]{26}|/", value), name

    call(body)


def test_event_streams_are_counted_while_they_are_open(call):
    async def body(api):
        job = (await api.a.post("/v1/jobs", json={"video_id": "vid_a"})).json()["id"]

        async def streams() -> float:
            return (await _metrics(api.nobody))["automations_event_streams_open"][frozenset()]

        async with api.a.stream("GET", f"/v1/jobs/{job}/events") as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            assert await streams() == 1
        for _ in range(100):
            if await streams() == 0:
                break
            await asyncio.sleep(0.05)
        assert await streams() == 0

    call(body)


def test_what_waits_is_read_from_the_database(call):
    async def body(api):
        for state, more in (
            ("queued", "run_after = now() - interval '100 s', created_at = now() - interval '100 s'"),
            ("queued", "run_after = now() + interval '100 s'"),
            ("running", "lease_until = now()"),
            ("failed", "finished_at = now()"),
            ("succeeded", "finished_at = now() - interval '2 hours'"),
        ):
            job = (await api.a.post("/v1/jobs", json={"video_id": "vid_a"})).json()["id"]
            await api.world.change(f"UPDATE job SET state = '{state}', {more} WHERE id = :job", job=job)
        await api.world.change("UPDATE video SET duration_s = 30 WHERE id = 'vid_a'")
        assert (
            await api.a.post("/v1/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "5"})
        ).status_code == 201
        webhook = (await api.a.post("/v1/webhooks", json={"url": "https://example.com/x"})).json()["about"]["id"]
        assert (await api.a.post(f"/v1/webhooks/{webhook}/test")).status_code == 202
        await api.world.change("UPDATE webhook_delivery SET created_at = now() - interval '50 s'")
        await api.world.change(
            "INSERT INTO worker (id, host, pid, version, slots, busy, models, seen_at) VALUES "
            "('wrk_1', 'h', 1, 'v', 1, 0, '[]', now()), ('wrk_2', 'h', 2, 'v', 1, 0, '[]', now() - interval '1 hour')"
        )
        found = await _metrics(api.nobody)

        def value(name: str, **labels: str) -> float:
            return found[f"automations_{name}"][_labels(**labels)]

        assert value("database_up") == 1
        assert [value("jobs", state=state) for state in ("queued", "running")] == [2, 1]
        ended = [value("jobs_ended_last_hour", state=state) for state in ("succeeded", "failed", "canceled")]
        assert ended == [0, 1, 0]
        assert value("jobs_queued_video_seconds") == 60
        assert 100 <= value("jobs_queued_oldest_age_seconds") < 200
        assert value("webhook_deliveries_pending") == 1
        assert 50 <= value("webhook_deliveries_pending_oldest_age_seconds") < 150
        assert value("uploads_waiting") == 1
        assert value("workers_alive") == 1
        # Not read again so soon, however often it is asked for.
        await api.world.change("DELETE FROM job")
        assert (await _metrics(api.nobody))["automations_jobs"] == found["automations_jobs"]

    call(body)


def test_without_a_database_there_are_metrics_still():
    async def body() -> None:
        meters, away = Meters(), Database("postgresql://nobody@127.0.0.1:1/nothing")
        await Backlog(away, meters.registry).read()
        assert meters.registry.get_sample_value("automations_database_up") == 0
        await away.close()

    asyncio.run(body())


def test_this_machine_may_read_them_but_nobody_through_a_proxy_of_it(call):
    async def body(api):
        await _metrics(api.nobody)
        for name in ("Forwarded", "X-Forwarded-For", "X-Forwarded-Proto"):
            answer = await api.a.get("/metrics", headers={name: "for=127.0.0.1"})
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
            assert "AUTOMATIONS_SERVER__METRICS_KEY" in answer.json()["detail"]

    call(body)


def test_with_a_key_who_sends_it_may_read_them(run, url, tmp_path):
    async def body(world):
        server = msgspec.structs.replace(SETTINGS.server, metrics_key="the-key")
        settings = msgspec.structs.replace(SETTINGS, server=server)
        key = await made_key(world.database, "a")
        async with (
            served(url, store_at(tmp_path / "objects"), settings) as address,
            httpx.AsyncClient(base_url=address, trust_env=False, verify=False) as client,
        ):
            for wrong in ({}, {"Authorization": "Bearer the-kez"}, {"Authorization": f"Bearer {key}"}):
                assert (await client.get("/metrics", headers=wrong)).status_code == 403
            await _metrics(client, Authorization="Bearer the-key")
            await _metrics(client, Authorization="bearer the-key", **{"X-Forwarded-For": "203.0.113.1"})

    run(body)
