"""Headers for browsers: which pages may use the API, and what keeps them from doing more than is meant."""

import httpx
import msgspec
import pytest

from pipeline.errors import InvalidSettings
from serving.api.cors import origins_of
from serving.options import LimitOptions
from serving.proxies import proxy_options
from tests.serving.api.conftest import SETTINGS, made_key, served
from tests.serving.jobs.conftest import run
from tests.serving.sealing import store_at

__all__ = ["run"]

PAGE = "https://app.example.com"


@pytest.fixture
def shared(run, url, tmp_path):
    """Runs `async def test(client, key)` against an API that pages of these origins may use."""

    def with_origins(origins: str, body, **changes) -> None:
        server = msgspec.structs.replace(SETTINGS.server, cors_origins=origins)
        settings = msgspec.structs.replace(SETTINGS, server=server, **changes)

        async def main(world):
            key = await made_key(world.database, "a")
            async with (
                served(url, store_at(tmp_path / "objects"), settings) as address,
                httpx.AsyncClient(base_url=address, trust_env=False, verify=False) as client,
            ):
                await body(client, {"Authorization": f"Bearer {key}"})

        run(main)

    return with_origins


def _preflight(method: str, *headers: str, origin: str = PAGE) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": ",".join(headers),
    }


def _words(header: str) -> set[str]:
    return {word.strip().lower() for word in header.split(",")}


def test_a_page_uploads_and_reads_what_it_has_to(shared):
    async def body(client, key):
        wanted = ("authorization", "content-type", "tus-resumable", "upload-offset", "upload-checksum")
        answer = await client.options("/v1/uploads/upl_" + "0" * 26, headers=_preflight("PATCH", *wanted))
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "PATCH" in answer.headers["access-control-allow-methods"].split(", ")
        assert set(wanted) <= _words(answer.headers["access-control-allow-headers"])
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers
        tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "5", "Origin": PAGE}
        made = await client.post("/v1/uploads", headers=key | tus)
        assert made.status_code == 201
        assert made.headers["access-control-allow-origin"] == PAGE
        exposed = _words(made.headers["access-control-expose-headers"])
        ours = {name for name in made.headers if name.startswith(("tus-", "upload-", "x-request", "location"))}
        assert len(ours) >= 4
        assert ours <= exposed

    shared(f"{PAGE}, http://localhost:3000", body)


def test_what_tus_asks_by_options_is_no_preflight(shared):
    async def body(client, _):
        answer = await client.options("/v1/uploads", headers={"Origin": PAGE})
        assert (answer.status_code, answer.headers["tus-version"]) == (204, "1.0.0")
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "tus-version" in _words(answer.headers["access-control-expose-headers"])

    shared(PAGE, body)


def test_refusals_are_told_to_the_page(shared):
    async def body(client, key):
        page = {"Origin": PAGE}
        statuses = []
        for headers, path in (
            ({}, "/v1/jobs"),
            (key, "/v1/jobs?limit=0"),
            (key, "/v1/nowhere"),
            (key, "/v1/jobs"),
            (key, "/v1/jobs"),
        ):
            answer = await client.get(path, headers=headers | page)
            statuses.append(answer.status_code)
            assert answer.headers["access-control-allow-origin"] == PAGE
            assert "retry-after" in _words(answer.headers["access-control-expose-headers"])
            assert answer.headers["x-request-id"] == answer.json()["request_id"] if answer.is_error else True
        assert statuses == [401, 400, 404, 200, 429]

    shared(PAGE, body, limits=LimitOptions(requests_per_s=0.001, burst=2))


@pytest.mark.parametrize("origin", ["https://evil.example.com", "http://app.example.com", f"{PAGE}.evil.com", "null"])
def test_other_pages_are_kept_out(shared, origin):
    async def body(client, key):
        preflight = await client.options("/v1/jobs", headers=_preflight("GET", "authorization", origin=origin))
        real = await client.get("/v1/jobs", headers=key | {"Origin": origin})
        none = await client.get("/v1/jobs", headers=key)
        for answer in (preflight, real, none):
            assert not [name for name in answer.headers if name.startswith("access-control-")]
            assert answer.headers["vary"] == "Origin"

    shared(PAGE, body)


def test_all_pages_without_cookies(shared):
    async def everybody(client, key):
        page = {"Origin": "https://any.example", "Cookie": "a=b"}
        # Who says no origin is told too: a browser shows a script what an <img> before it was answered.
        for headers in (key | page, key):
            answer = await client.get("/v1/jobs", headers=headers)
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "x-request-id" in _words(answer.headers["access-control-expose-headers"])
            assert "access-control-allow-credentials" not in answer.headers

    shared("*", everybody)


def test_no_page_where_none_was_named(shared):
    async def body(client, key):
        answer = await client.get("/v1/jobs", headers=key | {"Origin": PAGE})
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert "vary" not in answer.headers

    shared("", body)


@pytest.mark.parametrize(
    "wrong", ["app.example.com", "https://", "https://a.example/x", "https://A.example", "ftp://a"]
)
def test_what_is_no_origin_is_refused_at_the_start(wrong):
    with pytest.raises(InvalidSettings, match="cors_origins"):
        origins_of(f"{PAGE},{wrong}")


def test_proxies_are_named_by_address():
    assert proxy_options("")["proxy_headers"] is False
    assert proxy_options(" 10.0.0.0/8, ::1 ")["forwarded_allow_ips"] == ["10.0.0.0/8", "::1"]
    for wrong in ("*", "proxy.example.com", "10.0.0.1/8"):
        with pytest.raises(InvalidSettings, match="trusted_proxies"):
            proxy_options(wrong)


def test_answers_are_private_and_pages_are_in_no_frame(call):
    async def body(api):
        private = await api.a.get("/v1/jobs")
        assert private.headers["cache-control"] == "no-store"
        page = await api.nobody.get("/problems/not_found")
        assert "cache-control" not in page.headers
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert page.headers["x-frame-options"] == "DENY"
        for answer in (private, page):
            for held in ("default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"):
                assert held in answer.headers["content-security-policy"]
        for answer in (private, page, await api.nobody.get("/v1/nowhere"), await api.nobody.get("/v1/jobs")):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["x-request-id"].startswith("req_")

    call(body)
