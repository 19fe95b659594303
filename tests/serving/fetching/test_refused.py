"""Through the front door, nobody makes this server connect to what is not of the public Internet."""

import asyncio

import httpcore
import pytest

from serving.egress import Egress
from tests.serving.fetching.conftest import asked, fetching, over
from tests.serving.webhooks.receiver import receiving
from tests.serving.webhooks.refused import REFUSED_URLS
from tests.serving.webhooks.test_egress import PUBLIC, REFUSED_ANSWERS


@pytest.fixture
def abroad(monkeypatch) -> list[str]:
    """Addresses beyond this machine that a connection was asked for to; none of them is made."""
    made: list[str] = []
    real = httpcore.AnyIOBackend.connect_tcp  # type: ignore[attr-defined]

    async def connect(self, host, *args, **how):
        if host == "127.0.0.1":
            return await real(self, host, *args, **how)
        made.append(host)
        raise httpcore.ConnectError("not in tests")

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    return made


def test_no_form_of_a_private_address_gets_through(call, abroad):
    assert len(REFUSED_URLS) >= 60

    async def body(api):
        async with receiving() as canary, fetching(api, egress=Egress()):
            waiting = {}
            for url in REFUSED_URLS:
                there = url.replace("{port}", str(canary.port))
                answer = await api.a.post("/v1/uploads/url", json={"url": there})
                if answer.status_code == 202:
                    waiting[url] = answer.json()
                else:
                    assert (answer.status_code, answer.json()["code"]) == (422, "address_refused"), url
            for url, upload in waiting.items():
                done = await over(api, upload)
                assert done["error"]["code"] == "address_refused", url
            assert canary.connections == 0
        assert abroad == []

    call(body)


def test_no_name_of_a_private_address_gets_through(call, abroad):
    async def body(api):
        async with receiving() as canary:
            for answer in REFUSED_ANSWERS:

                async def resolve(host, port, answer=answer):
                    return answer

                async with fetching(api, egress=Egress(resolve=resolve)):
                    done = await over(api, await asked(api, f"http://films.example.com:{canary.port}/film.mp4"))
                assert (done["status"], done["error"]["code"]) == ("errored", "address_refused"), answer
                # Which address it was is nobody's business.
                assert not any(address in str(done["error"]) for address in answer if address != PUBLIC)
            assert canary.connections == 0
        assert abroad == []

    call(body)


def test_a_name_that_changes_is_checked_each_time(call, abroad, at_once):
    async def body(api):
        answers = [[PUBLIC], ["127.0.0.1"]]

        async def resolve(host, port):
            return answers.pop(0)

        async with receiving() as canary, fetching(api, egress=Egress(resolve=resolve)):
            done = await over(api, await asked(api, f"http://films.example.com:{canary.port}/film.mp4"))
            assert canary.connections == 0
        # Looked up once for each attempt, and the connection is made to what was checked.
        assert (answers, abroad) == ([], [PUBLIC])
        assert (done["attempts"], done["error"]["code"]) == (2, "address_refused")

    call(body)


@pytest.mark.parametrize(
    "to", ["http://169.254.169.254/latest/", "http://[::1]:{port}/", "http://inside.example.com:{port}/"]
)
def test_no_redirect_leads_there(call, abroad, to):
    async def body(api):
        async with receiving() as canary:
            said = f"HTTP/1.1 302 X\r\nlocation: {to.replace('{port}', str(canary.port))}\r\ncontent-length: 0\r\n\r\n"

            async def resolve(host, port):
                return ["127.0.0.2"] if host == "inside.example.com" else ["127.0.0.1"]

            egress = Egress(allowed=frozenset({"127.0.0.1/32"}), resolve=resolve)
            async with receiving(lambda _: said.encode()) as there, fetching(api, egress=egress):
                done = await over(api, await asked(api, f"http://films.example.com:{there.port}/film.mp4"))
                assert len(there.asked) == 1
            await asyncio.sleep(0)
            assert (done["error"]["code"], canary.connections, abroad) == ("address_refused", 0, [])

    call(body)
