"""Streams of events: nothing is lost or told twice whoever cuts the line, and there are only so many."""

import asyncio
import random
from contextlib import AsyncExitStack

import httpx
import msgspec
import pytest

from serving.event_stream import EventParser
from serving.jobs import following, outcomes
from serving.jobs.lease import Problem
from tests.serving.api.conftest import SETTINGS, Api, served

#: How often the line is cut.
CUTS = 200


async def _job(api: Api, client: httpx.AsyncClient | None = None, video: str = "vid_a") -> str:
    answer = await (client or api.a).post("/v1/jobs", json={"video_id": video})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def _settings(**server):
    return msgspec.structs.replace(SETTINGS, server=msgspec.structs.replace(SETTINGS.server, **server))


async def _cut(address: str, headers: dict[str, str], after_bytes: int, parser: EventParser) -> list:
    """Events of one connection that is cut after so many bytes, in the middle of an event or not."""
    events = []
    async with (
        httpx.AsyncClient(timeout=20, verify=False, headers=headers) as client,
        client.stream("GET", address) as stream,
    ):
        assert stream.status_code == 200
        async for chunk in stream.aiter_bytes():
            events += parser.feed(chunk[:after_bytes])
            after_bytes -= len(chunk)
            if after_bytes <= 0:
                break
    parser.reset()
    return events


def test_no_gap_and_no_repeat_over_disconnects_and_processes(call, url):
    async def body(api):
        job = await _job(api)
        lease = await api.world.queue.claim("w")
        cuts, told = 0, 2
        over = asyncio.Event()

        async def work() -> None:
            nonlocal told
            while cuts < CUTS:
                await api.world.queue.progress(lease, {"done": told})
                told += 1
            await outcomes.fail(api.world.database, lease, Problem(code="corrupt", detail="x"))
            told += 1
            over.set()

        working = asyncio.create_task(work())
        rng = random.Random(0)
        parser = EventParser()
        seen: list[int] = []
        kinds: list[str] = []
        async with served(url, api.store) as second:
            while "failed" not in kinds:
                address = f"{rng.choice((api.address, second))}/v1/jobs/{job}/events"
                headers = {"Authorization": api.a.headers["Authorization"]}
                headers |= {"Last-Event-ID": str(seen[-1])} if seen else {}
                for event in await _cut(address, headers, rng.randrange(1, 400) if cuts < CUTS else 1 << 20, parser):
                    seen.append(event.number)
                    kinds.append(event.kind)
                cuts += 1
        await working
        assert cuts > CUTS
        assert over.is_set()
        assert seen == list(range(1, told + 1))
        assert kinds == ["queued", "running", *["progress"] * (told - 3), "failed"]

    call(body)


def test_a_tenant_has_so_many_streams_and_gets_them_back(call, url):
    async def body(api):
        job = await _job(api)
        theirs = await _job(api, api.b, "vid_b")
        async with served(url, api.store, _settings(max_streams_per_tenant=5)) as address, AsyncExitStack() as stack:

            async def open_(stack: AsyncExitStack, who: httpx.AsyncClient, job: str) -> httpx.Response:
                client = await stack.enter_async_context(
                    httpx.AsyncClient(timeout=20, verify=False, headers={"Authorization": who.headers["Authorization"]})
                )
                return await stack.enter_async_context(client.stream("GET", f"{address}/v1/jobs/{job}/events"))

            async def until_taken(stack: AsyncExitStack) -> None:
                async with asyncio.timeout(10):
                    while (await open_(stack, api.a, job)).status_code != 200:
                        await asyncio.sleep(0.02)

            for _ in range(5):
                assert (await open_(stack, api.a, job)).status_code == 200
            refused = await open_(stack, api.a, job)
            problem = msgspec.json.decode(await refused.aread())
            assert (refused.status_code, problem["code"], problem["retryable"]) == (429, "rate_limited", True)
            assert int(refused.headers["Retry-After"]) > 0
            assert (await open_(stack, api.b, theirs)).status_code == 200
            await stack.aclose()
            for _ in range(100):
                async with AsyncExitStack() as one:
                    await until_taken(one)
            # All five are there again.
            async with AsyncExitStack() as last:
                for _ in range(5):
                    await until_taken(last)
                assert (await open_(last, api.a, job)).status_code == 429

    call(body)


def test_a_process_has_so_many_streams(call, url):
    async def body(api):
        job = await _job(api)
        theirs = await _job(api, api.b, "vid_b")
        async with (
            served(url, api.store, _settings(max_streams=1)) as address,
            api.a.stream("GET", f"{address}/v1/jobs/{job}/events") as first,
        ):
            assert first.status_code == 200
            assert (await api.b.get(f"{address}/v1/jobs/{theirs}/events")).status_code == 429

    call(body)


def test_silence_is_broken_by_comments(call, url):
    async def body(api):
        job = await _job(api)
        async with (
            served(url, api.store, _settings(keep_alive_s=0.05)) as address,
            api.a.stream("GET", f"{address}/v1/jobs/{job}/events") as stream,
            asyncio.timeout(10),
        ):
            comments = 0
            async for line in stream.aiter_lines():
                comments += line == ": still here"
                if comments == 3:
                    break

    call(body)


def test_what_nobody_was_told_of_is_found(call, url, monkeypatch):
    monkeypatch.setattr(following, "POLL_S", 0.1)

    async def body(api):
        job = await _job(api)
        async with api.a.stream("GET", f"/v1/jobs/{job}/events") as stream, asyncio.timeout(10):
            lines = stream.aiter_lines()
            while await anext(lines) != "event: queued":
                pass
            # As if the notice had been lost.
            await api.world.change(
                "INSERT INTO event (tenant_id, job_id, number, kind, data) VALUES ('a', :job, 2, 'progress', '{}')",
                job=job,
            )
            await api.world.change("UPDATE job SET event_number = 2 WHERE id = :job", job=job)
            while await anext(lines) != "event: progress":
                pass

    call(body)


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 19, "²"])
def test_an_id_that_is_none_is_refused(call_shared, last):
    async def body(api):
        job = await _job(api)
        answer = await api.a.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": last.encode()})
        assert answer.status_code == 400

    call_shared(body)
