"""Who sends whatever they like: it fills no memory, reaches no database without a limit, and keeps nobody waiting."""

import asyncio
import logging

import httpx
import msgspec
import pytest

from serving.api import admission, strict
from serving.api.bounded import MAX_HEADER_BYTES
from serving.auth import credentials, opaque
from serving.auth.credentials import Credentials
from serving.auth.tokens import Tokens
from serving.limiting import Limits, Rule
from serving.options import AUTH_OPTIONS, LimitOptions
from tests.serving.api.conftest import SECRET, SETTINGS, made_key, served
from tests.serving.auth.people import refused
from tests.serving.sealing import store_at


def _credentials(database) -> Credentials:
    return Credentials(database, SECRET, Tokens(SECRET, AUTH_OPTIONS))


def test_what_strangers_show_is_not_kept(run, monkeypatch):
    monkeypatch.setattr(credentials, "_MAX_REMEMBERED", 10)

    async def body(world):
        known = _credentials(world.database)
        good = await made_key(world.database, "a")
        assert (await known.principal(good)).tenant_id == "a"
        before = dict(known._known)
        # A megabyte, one sign too many and one too few; and tokens and tickets of that length.
        for shown in (opaque.KEY_PREFIX + "x" * (1 << 20), good + "x", good[:-1], "e" * (1 << 20)):
            assert await known.principal(shown) is None
            assert await known.ticket(shown, "job_x") is None
        assert (known._known, known._nobody, list(known._digests)) == (before, {}, [good])
        for _ in range(35):
            assert await known.principal(opaque.new_key()) is None
        assert (known._known, list(known._digests)) == (before, [good]), "nor is what is good forgotten over them"
        assert len(known._nobody) <= 10

    run(body)


def test_with_no_tokens_left_a_new_key_is_refused_before_the_database_is_asked(run, url, tmp_path, monkeypatch):
    looked_up: list[object] = []
    look_up = Credentials._look_up

    async def counted(self, name):
        looked_up.append(name)
        return await look_up(self, name)

    monkeypatch.setattr(Credentials, "_look_up", counted)
    monkeypatch.setattr(admission, "LOOK_UP_EVERY_S", 1000.0)

    async def body(world):
        good = await made_key(world.database, "a")
        limits = LimitOptions(requests_per_s=0, unknown_per_s=0.01, unknown_burst=3)
        settings = msgspec.structs.replace(SETTINGS, limits=limits)
        async with (
            served(url, store_at(tmp_path), settings) as address,
            httpx.AsyncClient(base_url=address, trust_env=False, verify=False) as client,
        ):

            async def status(key: str, method: str = "GET", path: str = "/v1/jobs") -> int:
                headers = {"Authorization": f"Bearer {key}"}
                return (await client.request(method, path, headers=headers)).status_code

            assert await status(good) == 200
            statuses = [await status(opaque.new_key()) for _ in range(4)]
            assert statuses == [401, 401, 401, 429], "the last was looked up, for nobody knew yet"
            # One may be a neighbour's.
            assert await status(await made_key(world.database, "a")) == 200
            asked = len(looked_up)
            answer = await client.get("/v1/jobs", headers={"Authorization": f"Bearer {opaque.new_key()}"})
            assert refused(answer, 429, "rate_limited")
            assert answer.headers["ratelimit"].startswith('"address";r=0;t=')
            assert await status(opaque.new_key(), "OPTIONS", "/v1/uploads") == 204
            assert await status(opaque.new_key(), "OPTIONS") == 204
            assert await status(opaque.new_key(), path="/livez") == 200
            assert len(looked_up) == asked
            # Who was known before pays for none of it, even once that has to be asked again.
            await asyncio.sleep(credentials.TRUSTED_S)
            assert await status(good) == 200
            assert len(looked_up) == asked + 1

    run(body)


def test_who_guesses_the_key_of_the_metrics_is_a_stranger_like_others(run, url, tmp_path):
    async def body(_):
        server = msgspec.structs.replace(SETTINGS.server, metrics_key="the-key")
        limits = LimitOptions(unknown_per_s=0.01, unknown_burst=3)
        settings = msgspec.structs.replace(SETTINGS, server=server, limits=limits)
        async with (
            served(url, store_at(tmp_path), settings) as address,
            httpx.AsyncClient(base_url=address, trust_env=False, verify=False) as client,
        ):

            async def status(key: str) -> int:
                return (await client.get("/metrics", headers={"Authorization": f"Bearer {key}"})).status_code

            assert [await status("guess") for _ in range(4)] == [403, 403, 403, 429]
            assert await status("the-key") == 200

    run(body)


def test_it_is_known_when_a_bucket_is_empty(run, url):
    async def body(_):
        limits = Limits(url, pool_size=1)
        rule = Rule(per_s=0.01, burst=1)
        assert limits.wait_s("x") == 0
        await limits.take("x", rule)
        with pytest.raises(Exception, match="too many requests"):
            await limits.take("x", rule)
        assert 0 < limits.wait_s("x") <= 100
        await limits.close()

    run(body)


def test_headers_have_a_bound(call):
    async def body(api):
        fits = {"X-Much": "x" * (MAX_HEADER_BYTES - 2000)}
        assert (await api.nobody.get("/livez", headers=fits)).status_code == 200
        for headers in ({"X-Much": "x" * MAX_HEADER_BYTES}, {f"X-{n}": "x" * 100 for n in range(700)}):
            answer = await api.a.get("/v1/jobs", headers=headers)
            assert refused(answer, 431, "headers_too_large")["type"] == "/problems/headers_too_large"
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["request_id"] == answer.headers["x-request-id"]
            assert answer.headers["x-content-type-options"] == "nosniff"

    call(body)


def test_what_anybody_may_send_is_small(call):
    async def body(api):
        for path in ("token", "refresh", "logout"):
            large = b'{"refresh_token": "' + b"x" * (16 << 10) + b'"}'
            refused(await api.nobody.post(f"/v1/auth/{path}", content=large), 413, "too_large")

            async def pieces(body=large):
                yield body

            refused(await api.nobody.post(f"/v1/auth/{path}", content=pieces()), 413, "too_large")

    call(body)


HEAD = "POST /v1/auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"


@pytest.mark.parametrize("limit", ["STALLED_S", "BODY_S"])
def test_a_body_that_does_not_come_is_not_waited_for(call, monkeypatch, limit):
    monkeypatch.setattr(strict, limit, 0.3)

    async def body(api):
        reader, writer = await _connected(api)
        writer.write(HEAD.encode() + b'{"refresh')
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b'"code":"request_timeout"' in answer
        assert b"connection: close" in answer.lower()
        writer.close()

    call(body)


def test_who_hangs_up_is_no_fault_of_the_server(call, caplog):
    async def body(api):
        _, writer = await _connected(api)
        writer.write(HEAD.encode() + b'{"refresh')
        await asyncio.sleep(0.2)
        writer.close()
        for _ in range(100):
            metrics = (await api.nobody.get("/metrics")).text
            if 'operation="refresh_session",status=' in metrics:
                break
            await asyncio.sleep(0.05)
        (line,) = [
            one
            for one in metrics.splitlines()
            if one.startswith("automations_http_requests_total") and "refresh" in one
        ]
        assert 'status="499"' in line

    call(body)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def _connected(api) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = api.address.removeprefix("http://").partition(":")
    return await asyncio.open_connection(host, int(port))
