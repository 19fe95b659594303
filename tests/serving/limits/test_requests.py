"""Limits on requests, over all processes together."""

import asyncio
import time

import httpx
import msgspec

from serving.options import LimitOptions
from serving.settings import DEFAULTS
from tests.serving.api.conftest import made_key, served
from tests.serving.limits.processes import processes
from tests.serving.sealing import store_at

#: Requests come back so slowly that no test is too slow to see the end of them.
_SLOWLY = LimitOptions(requests_per_s=0.01, burst=10, unknown_per_s=0.01, unknown_burst=5)


def _limited(options: LimitOptions = _SLOWLY):
    return msgspec.structs.replace(DEFAULTS, limits=options)


def test_two_processes_and_forged_addresses_do_not_get_around_it(run, url, tmp_path):
    async def body(world):
        key = await made_key(world.database, "a")
        came, refused = [], 0
        settings = {"LIMITS__REQUESTS_PER_S": 5, "LIMITS__BURST": 80}
        with processes(url, tmp_path / "data", 2, **settings) as addresses:

            async def caller(client: httpx.AsyncClient, number: int) -> None:
                nonlocal refused
                while time.monotonic() < began + 1.5 or refused == 0:
                    forged = {"X-Forwarded-For": f"203.0.113.{number}", "Authorization": f"Bearer {key}"}
                    answer = await client.get("/v1/me", headers=forged)
                    if answer.status_code == 200:
                        came.append(time.monotonic())
                    else:
                        assert answer.status_code == 429, answer.text
                        refused += 1

            async with (
                httpx.AsyncClient(base_url=addresses[0], trust_env=False, verify=False) as one,
                httpx.AsyncClient(base_url=addresses[1], trust_env=False, verify=False) as other,
            ):
                began = time.monotonic()
                await asyncio.gather(*(caller((one, other)[n % 2], n) for n in range(20)))
            # No more than is promised, however slow the machine; and all of the burst.
            assert refused > 0
            assert 80 <= len(came) <= 81 + 5 * (max(came) - began)

    run(body)


def test_what_a_refused_request_is_told(run, url, tmp_path):
    async def body(world):
        key = await made_key(world.database, "a")
        async with served(url, store_at(tmp_path), _limited()) as address, _client(address, key) as client:
            for left in range(9, -1, -1):
                answer = await client.get("/v1/jobs")
                assert answer.status_code == 200
                assert answer.headers["ratelimit-policy"] == '"requests";q=10;w=1000'
                remaining, reset = answer.headers["ratelimit"].removeprefix('"requests";r=').split(";t=")
                assert int(remaining) == left
                assert 0 < int(reset) <= 1000
            answer = await client.get("/v1/jobs")
            assert answer.status_code == 429
            assert answer.headers["content-type"] == "application/problem+json"
            assert 0 < int(answer.headers["retry-after"]) <= 100
            assert answer.headers["ratelimit"].startswith('"requests";r=0;t=')
            assert answer.json()["code"] == "rate_limited"
            assert answer.json()["request_id"] == answer.headers["x-request-id"]
            # Nor is a body read for nothing: this one never comes.
            assert await _status_before_the_body(address, key) == 429

    run(body)


def test_strangers_are_counted_by_address_and_those_who_are_known_are_not(run, url, tmp_path):
    async def body(world):
        key = await made_key(world.database, "a")
        async with (
            served(url, store_at(tmp_path), _limited()) as address,
            _client(address, None) as nobody,
            _client(address, key) as somebody,
        ):
            bad = {"Authorization": "Bearer aut_" + "x" * 43, "X-Forwarded-For": "203.0.113.1"}
            statuses = [(await nobody.get("/v1/jobs", headers=bad)).status_code for _ in range(3)]
            statuses += [(await nobody.get("/problems/not_found")).status_code for _ in range(4)]
            assert statuses == [401, 401, 401, 200, 200, 429, 429]
            assert (await somebody.get("/v1/jobs")).status_code == 200
            for _ in range(20):
                assert (await nobody.get("/livez")).status_code == 200
                assert (await nobody.options("/v1/uploads")).status_code == 204

    run(body)


def test_more_signed_urls_give_no_more_requests(run, url, tmp_path):
    async def body(world):
        key = await made_key(world.database, "a")
        async with (
            served(url, store_at(tmp_path), _limited()) as address,
            _client(address, None) as nobody,
            _client(address, key) as somebody,
        ):
            video = (await somebody.post("/v1/videos", content=b"\x1aE\xdf\xa3" + bytes(100))).json()["id"]

            async def urls(lasting_s: int) -> dict[str, dict[str, str]]:
                asked = {"purposes": ["stream", "text"], "expires_in_s": lasting_s}
                return (await somebody.post(f"/v1/videos/{video}/urls", json=asked)).json()["urls"]

            made = [await urls(lasting_s) for lasting_s in (100, 200, 300)]
            shown = [one["stream"]["url"] for one in made]
            assert len(set(shown)) == 3
            statuses = [(await nobody.get(shown[n % 3])).status_code for n in range(12)]
            assert statuses == [200] * 10 + [429] * 2
            # Another purpose has another, and so has who asked for them.
            assert (await nobody.get(made[0]["text"]["url"])).status_code not in (403, 429)
            assert (await somebody.get(f"/v1/videos/{video}")).status_code == 200

    run(body)


def test_a_proxy_is_believed_where_it_was_named(url, run, tmp_path):
    async def body(_):
        settings = {"LIMITS__UNKNOWN_PER_S": 0.01, "LIMITS__UNKNOWN_BURST": 2}
        trusted = settings | {"SERVER__TRUSTED_PROXIES": "127.0.0.0/8, ::1"}
        with processes(url, tmp_path / "trusting", 1, **trusted) as (address,):
            async with _client(address, None) as client:

                async def asked(forwarded: str) -> list[int]:
                    headers = {"X-Forwarded-For": forwarded}
                    return [(await client.get("/v1/jobs", headers=headers)).status_code for _ in range(3)]

                assert await asked("203.0.113.1") == [401, 401, 429]
                assert await asked("203.0.113.2") == [401, 401, 429]
                # What stands before the last address that is none of the proxies' was written by anybody.
                assert await asked("203.0.113.3, 203.0.113.1") == [429, 429, 429]
                assert await asked("2001:db8:1:2::1") == [401, 401, 429]
                assert await asked("2001:db8:1:2:ffff::1") == [429, 429, 429], "addresses of one network are one"

    run(body)


def _client(address: str, key: str | None) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(base_url=address, headers=headers, trust_env=False, verify=False, timeout=10)


async def _status_before_the_body(address: str, key: str) -> int:
    host, _, port = address.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = ("POST /v1/videos HTTP/1.1", "Host: x", f"Authorization: Bearer {key}", "Content-Length: 1000000", "", "")
    writer.write("\r\n".join(head).encode())
    line = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    return int(line.split()[1])
