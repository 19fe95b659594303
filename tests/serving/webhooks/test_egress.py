"""Nobody makes this server connect to what is not of the public Internet, however the URL is written."""

import asyncio
import socket

import httpcore
import httpx
import pytest

from serving.addresses import checked
from serving.egress import Egress, system_resolver
from serving.errors import AddressRefused, FetchFailed
from tests.serving.webhooks.receiver import LOOPBACK, receiving
from tests.serving.webhooks.refused import REFUSED_URLS

PUBLIC = "93.184.215.14"

#: Answers of a resolver, any of which is one too many.
REFUSED_ANSWERS = [
    ["127.0.0.1"],
    ["10.0.0.5"],
    ["169.254.169.254"],
    ["100.64.1.1"],
    ["0.0.0.0"],
    ["::1"],
    ["::ffff:127.0.0.1"],
    ["fe80::1%2"],
    ["fd00::1"],
    ["64:ff9b::a00:1"],
    ["2002:a00:1::"],
    [PUBLIC, "127.0.0.1"],
    ["127.0.0.1", PUBLIC],
    [PUBLIC, "::1"],
]


@pytest.fixture
def connections(monkeypatch) -> list[tuple[str, int]]:
    """Where connections were asked for; none of them is made."""
    made: list[tuple[str, int]] = []

    async def connect(self, host, port, *_, **__):
        made.append((host, port))
        raise httpcore.ConnectError("not in tests")

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    return made


def answering(*answers: list[str]):
    """A resolver that gives these, one after the other, and says what it was asked."""
    left, asked = list(answers), []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return left.pop(0)

    resolve.asked = asked
    return resolve


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_no_connection_is_made(url, connections):
    async def body():
        async with receiving() as canary:
            egress = Egress()
            there = url.replace("{port}", str(canary.port))
            with pytest.raises(AddressRefused):
                await egress.post(there, b"x", {}, timeout_s=5)
            with pytest.raises(AddressRefused):
                async with egress.fetch(there, max_bytes=9, timeout_s=5):
                    pass
            await asyncio.sleep(0)
            assert canary.connections == 0

    asyncio.run(body())
    assert connections == []


def test_there_are_enough_of_them():
    assert len(set(REFUSED_URLS)) >= 60


def test_what_is_refused_is_refused_by_the_connection_too(monkeypatch, connections):
    """Even where nobody looked at the URL: what the system makes of it is checked where connections are made."""
    monkeypatch.setattr("serving.egress.checked", lambda url, _: httpx.URL(url))

    async def body():
        for url in REFUSED_URLS[:16]:
            with pytest.raises((AddressRefused, FetchFailed, ValueError, httpx.InvalidURL)):
                await Egress().post(url.replace("{port}", "8000"), b"x", {}, timeout_s=5)

    asyncio.run(body())
    assert connections == []


@pytest.mark.parametrize("answer", REFUSED_ANSWERS, ids=",".join)
def test_no_name_leads_there_either(answer, connections):
    async def body():
        with pytest.raises(AddressRefused) as refused:
            await Egress(resolve=answering(answer)).post("https://innocent.example.com/", b"x", {}, timeout_s=5)
        assert answer[-1] not in str(refused.value), "which address it is, is not told"

    asyncio.run(body())
    assert connections == []


def test_a_name_that_changes_its_mind_is_asked_once(connections):
    resolve = answering([PUBLIC], ["127.0.0.1"])

    async def body():
        with pytest.raises(FetchFailed):
            await Egress(resolve=resolve).post("http://rebinding.example.com:8000/", b"x", {}, timeout_s=5)

    asyncio.run(body())
    assert connections == [(PUBLIC, 8000)]
    assert resolve.asked == ["rebinding.example.com"]


def test_a_name_that_changed_its_mind_is_refused_the_next_time(connections):
    resolve = answering([PUBLIC], ["127.0.0.1"])

    async def body():
        egress = Egress(resolve=resolve)
        for expected in (FetchFailed, AddressRefused):
            with pytest.raises(expected):
                await egress.post("http://rebinding.example.com/", b"x", {}, timeout_s=5)

    asyncio.run(body())
    assert connections == [(PUBLIC, 80)]


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook?a=b",
        "http://example.com:8080/",
        "https://exa_mple.example.com:8443/",
        "https://bücher.example/",
        f"http://{PUBLIC}/",
        "http://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/",
        f"http://[64:ff9b::{PUBLIC}]/",
    ],
)
def test_what_is_public_is_let_through(url):
    assert checked(url)


def test_the_environments_proxy_is_not_used(monkeypatch, connections):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:3128")

    async def body():
        with pytest.raises(FetchFailed):
            await Egress(resolve=answering([PUBLIC])).post("http://example.com/", b"x", {}, timeout_s=5)

    asyncio.run(body())
    assert connections == [(PUBLIC, 80)]


def test_a_name_that_is_nobodys():
    async def resolve(host, port):
        raise socket.gaierror("no")

    async def body():
        with pytest.raises(FetchFailed):
            await Egress(resolve=resolve).post("http://example.com/", b"x", {}, timeout_s=5)
        assert await system_resolver("127.1", 80) == ["127.0.0.1"]

    asyncio.run(body())


def test_sockets_are_no_addresses():
    with pytest.raises(AddressRefused):
        asyncio.run(Egress(allowed=LOOPBACK)._backend.connect_unix_socket("/run/x"))
