"""Signed URLs: good for one purpose of one video, for a while, until somebody ends them; and then for nothing."""

import asyncio
import logging
import time
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from serving.auth.principals import ROLES
from serving.playback.signing import PURPOSES
from tests.serving.api.conftest import served
from tests.serving.playback.conftest import content_of, uploaded, url_of

CONTENT = content_of(1000)


def _signature(url: str) -> str:
    return parse_qs(urlsplit(url).query)["signature"][0]


async def _seen(client: httpx.AsyncClient, url: str) -> bool:
    """Whether the video is there at a URL; if not, that nothing of it is, and that nothing tells why."""
    answer = await client.get(url)
    if answer.status_code == 200:
        assert answer.content == CONTENT
        return True
    problem = answer.json()
    assert (answer.status_code, problem["code"], answer.headers["content-type"]) == (
        403,
        "url_refused",
        "application/problem+json",
    )
    assert problem["detail"].startswith("this URL is not good, or no longer, or not for this")
    return False


def test_it_needs_no_key_and_is_good_for_one_thing(call_shared):
    async def body(api):
        video, other = await uploaded(api.a, CONTENT), await uploaded(api.a, content_of(1000, 1))
        theirs = await uploaded(api.b, CONTENT)
        asked = {"purposes": list(PURPOSES), "expires_in_s": 300}
        answer = (await api.a.post(f"/v1/videos/{video}/urls", json=asked)).json()
        urls = {purpose: one["url"] for purpose, one in answer["urls"].items()}
        assert list(urls) == list(PURPOSES)
        assert await _seen(api.nobody, urls["stream"])
        assert (await api.nobody.head(urls["stream"])).status_code == 200
        signature = _signature(urls["stream"])
        assert signature == answer["urls"]["stream"]["signature"]
        for there in (other, theirs, "vid_" + "0" * 26):
            assert not await _seen(api.nobody, f"/v1/videos/{there}/stream?signature={signature}")
        for purpose in PURPOSES[1:]:
            assert not await _seen(api.nobody, f"/v1/videos/{video}/stream?signature={_signature(urls[purpose])}")
        # Nothing else is asked with it, and a key that is shown goes before it.
        for path in ("", "/report", "/urls"):
            answer = await api.nobody.get(f"/v1/videos/{video}{path}", params={"signature": signature})
            assert answer.status_code in (401, 405), path
        assert (await api.a.get(f"/v1/videos/{video}/stream?signature=x")).content == CONTENT
        assert (await api.b.get(urls["stream"])).status_code == 404
        assert (await api.nobody.get(f"/v1/videos/{video}/stream")).status_code == 401

    call_shared(body)


def test_it_cannot_be_made_up_nor_made_longer(call_shared):
    async def body(api):
        video = await uploaded(api.a, CONTENT)
        url = await url_of(api.a, video)
        good = _signature(url)
        tenant, credential, expires, mac = good.split(".")
        forged = [
            f"b.{credential}.{expires}.{mac}",
            f"{tenant}.key_{'0' * 26}.{expires}.{mac}",
            f"{tenant}.{credential}.{int(expires) + 1}.{mac}",
            f"{tenant}.{credential}.{expires}.{mac[:-1]}{'A' if mac[-1] != 'A' else 'B'}",
            f"{tenant}.{credential}.{expires}.{'A' * 43}",
            good[:-1], f"{good}A", "", "x", ".", "....", "x" * 600, f"{tenant}.{credential}.99999999999999.{mac}",
        ]  # fmt: skip
        for signature in forged:
            assert not await _seen(api.nobody, f"/v1/videos/{video}/stream?signature={signature}"), signature
        assert not await _seen(api.nobody, f"{url}&signature={good}")
        for wrong in (0, -1, 86_401, 1.5, "60"):
            answer = await api.a.post(f"/v1/videos/{video}/urls", json={"expires_in_s": wrong})
            assert answer.status_code == 400, wrong
        assert (await api.a.post(f"/v1/videos/{video}/urls", json={"purposes": ["all"]})).status_code == 400

    call_shared(body)


def test_its_time_is_over(call_shared):
    async def body(api):
        url = await url_of(api.a, await uploaded(api.a, CONTENT), expires_in_s=1)
        ends = int(_signature(url).split(".")[2])
        assert ends <= time.time() + 1
        while time.time() < ends:
            time.sleep(0.05)
        assert not await _seen(api.nobody, url)

    call_shared(body)


def test_it_is_revoked_at_once_at_every_process(call, url):
    async def body(api):
        video, other = await uploaded(api.a, CONTENT), await uploaded(api.a, content_of(1000, 1))
        theirs = await uploaded(api.b, CONTENT)
        async with served(url, api.store) as elsewhere, httpx.AsyncClient(base_url=elsewhere, verify=False) as second:
            for end, ended in ((f"/v1/videos/{video}/urls", [video]), ("/v1/urls", [video, other])):
                urls = {one: await url_of(api.a, one) for one in (video, other)}
                urls[theirs] = await url_of(api.b, theirs)
                for process in (api.nobody, second):
                    for one in urls.values():
                        assert (await process.get(one)).status_code == 200
                assert (await api.a.delete(end)).status_code == 204
                for process in (second, api.nobody):
                    for one, shown in urls.items():
                        assert (await process.get(shown)).status_code == (403 if one in ended else 200)
                assert (await second.get(await url_of(api.a, video))).status_code == 200
            shown = await url_of(api.a, video)
            assert (await api.a.delete(f"/v1/videos/{video}")).status_code == 204
            for process in (second, api.nobody):
                assert not await _seen(process, shown)
        targets = (await api.a.get("/v1/audit", params={"operation": "revoke_video_urls"})).json()["data"]
        assert targets[0]["targets"] == [video]

    call(body)


@pytest.mark.parametrize("how", ["revoked", "without the scope"])
def test_it_is_no_better_than_what_it_was_asked_for_with(call_shared, how):
    async def body(api):
        video = await uploaded(api.a, CONTENT)
        client = await api.with_key("a", ROLES["viewer"])
        me = (await client.get("/v1/me")).json()["id"]
        url = await url_of(client, video)
        assert await _seen(api.nobody, url)
        change = "revoked_at = now()" if how == "revoked" else "scopes = '{jobs:read}'"
        await api.world.change(f"UPDATE api_key SET {change} WHERE id = :id", id=me)
        # Felt within a second, as everywhere.
        ends = time.monotonic() + 10.0
        while await _seen(api.nobody, url):
            assert time.monotonic() < ends
            time.sleep(0.1)

    call_shared(body)


def test_a_video_that_is_not_sealed_yet_has_some_too(call_shared):
    async def body(api):
        video = await uploaded(api.a, content_of(1000, 7))
        await api.world.change("DELETE FROM data_key WHERE video_id = :id", id=video)
        url = await url_of(api.a, video)
        # The row says that it is not sealed, and its bytes that it is.
        assert (await api.nobody.get(url)).status_code == 404
        await api.world.change("UPDATE video SET url_generation = url_generation + 1 WHERE id = :id", id=video)
        assert (await api.nobody.get(url)).status_code == 403

    call_shared(body)


def test_no_log_has_it(call_shared, caplog):
    caplog.set_level(logging.DEBUG)

    async def body(api):
        video = await uploaded(api.a, content_of(1000, 9))
        url = await url_of(api.a, video)
        assert (await api.nobody.get(url)).status_code == 200
        (key,) = [row.object_key for row in await api.world.sql("SELECT object_key FROM video WHERE id = :i", i=video)]
        await api.store.delete(key)
        assert (await api.nobody.get(url)).status_code == 404
        await api.world.change("ALTER FUNCTION tenant_media RENAME TO gone")
        try:
            assert (await api.nobody.get(url)).status_code == 500
        finally:
            await api.world.change("ALTER FUNCTION gone RENAME TO tenant_media")
        for row in await api.world.sql("SELECT audit::text AS said FROM audit"):
            assert _signature(url) not in row.said
        return _signature(url)

    signature = call_shared(body)
    said = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert said
    assert not [one for one in said if signature in one]


def test_what_is_no_id_is_refused_and_costs_nobody_else_anything(call_shared):
    async def body(api):
        video = await uploaded(api.a, CONTENT)
        fake = f"a.key_x.{int(time.time()) + 1000}.{'A' * 43}"
        wrong = ("%00", "vid_%00", f"{video}%00", f"{video}%0A", "x%FF")

        async def asked(client: httpx.AsyncClient, name: str, query: str = "") -> tuple[int, str]:
            answer = await client.get(f"/v1/videos/{name}/stream{query}")
            return answer.status_code, "" if answer.status_code == 200 else answer.json()["code"]

        found = await asyncio.gather(
            *(asked(api.nobody, one, f"?signature={fake}") for one in wrong * 8),
            *(asked(api.a, video) for _ in range(40)),
        )
        assert found == [(403, "url_refused")] * 40 + [(200, "")] * 40
        for one in wrong:
            assert (await asked(api.a, one))[0] in (400, 404), one

    call_shared(body)
