"""From the API's client of the graph to the gateway, over HTTP, with text towers that are fakes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pipeline.errors import EngineUnavailable, InvalidSettings, ModelUnavailable
from serving.graph import client, messages
from serving.graph.client import GraphClient
from serving.graph.gateway import Gateway
from serving.graph.keys import GATEWAY, derived
from serving.graph.messages import Embedded, EmbedTexts, Refused
from serving.places import server_secret
from serving.settings import load
from tests.serving.cutting import free_port

ROWS = np.eye(3, 4, dtype=np.float32)


class Text:
    """As a handle of `text`: `text.embed.remote(request)`."""

    def __init__(self) -> None:
        self.asked: list[EmbedTexts] = []

    @property
    def embed(self) -> "Text":
        return self

    async def remote(self, request: bytes) -> bytes:
        asked = messages.decode(request, EmbedTexts)
        self.asked.append(asked)
        if asked.model == "unknown":
            return messages.encode(Refused(code="model_unavailable", message="no such model"))
        return messages.encode(Embedded(rows=ROWS[: len(asked.texts)], space="s1"))


@contextlib.asynccontextmanager
async def served(answer: Callable, port: int) -> AsyncIterator[None]:
    """What stands for Serve's proxy."""
    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
def gateway(tmp_path, monkeypatch) -> tuple[Gateway, Text, str]:
    """A gateway, what it asks, and its key."""
    monkeypatch.setenv("AUTOMATIONS_SERVER__DATA_DIR", str(tmp_path))
    text = Text()
    return Gateway(text), text, derived(server_secret(load().settings), GATEWAY)  # type: ignore[arg-type]


def tried(body: Callable, *keys: str) -> None:
    """Runs `async def test(port, client, ...)` with a client for each key."""

    async def main() -> None:
        port = free_port()
        clients = [GraphClient(f"http://127.0.0.1:{port}/", key) for key in keys]
        try:
            await body(port, *clients)
        finally:
            for one in clients:
                await one.close()

    asyncio.run(main())


def test_texts_go_there_and_vectors_come_back(gateway):
    made, text, key = gateway

    async def test(port: int, graph: GraphClient) -> None:
        async with served(made.__call__, port):
            found = await graph.embed("auto", ("a", "b"), "s1")
            assert found.space == "s1"
            np.testing.assert_array_equal(found.rows, ROWS[:2])
            assert text.asked == [EmbedTexts(model="auto", space="s1", texts=("a", "b"))]
            with pytest.raises(ModelUnavailable, match="no such model"):
                await graph.embed("unknown", ("a",))

    tried(test, key)


def test_who_has_another_key_is_not_let_in(gateway):
    made, text, _ = gateway

    async def test(port: int, stranger: GraphClient, nobody: GraphClient) -> None:
        async with served(made.__call__, port):
            for one in (stranger, nobody):
                with pytest.raises(EngineUnavailable, match=r"graph\.key"):
                    await one.embed("auto", ("a",))
        assert not text.asked

    tried(test, "0" * 64, "")


def test_a_key_that_is_set_goes_before_the_data_folders(gateway, monkeypatch):
    monkeypatch.setenv("AUTOMATIONS_GRAPH__KEY", "of our own")
    made = Gateway(Text())  # type: ignore[arg-type]

    async def test(port: int, right: GraphClient, old: GraphClient) -> None:
        async with served(made.__call__, port):
            assert (await right.embed("auto", ("a",))).space == "s1"
            with pytest.raises(EngineUnavailable):
                await old.embed("auto", ("a",))

    tried(test, "of our own", gateway[2])


def test_a_graph_that_is_started_again_is_found_again(gateway):
    made, _, key = gateway

    async def test(port: int, graph: GraphClient) -> None:
        with pytest.raises(EngineUnavailable, match="cannot be reached"):
            await graph.embed("auto", ("a",))
        for _ in range(2):
            # The second time, the client has a connection to somebody who is no more.
            async with served(made.__call__, port):
                assert (await graph.embed("auto", ("a",))).space == "s1"
        with pytest.raises(EngineUnavailable):
            await graph.embed("auto", ("a",))

    tried(test, key)


@pytest.mark.parametrize(
    "answer",
    [
        # What Serve's proxy says while there is no application, no replica, or too much to do.
        PlainTextResponse("Path '/embed' not found", 404),
        PlainTextResponse("unavailable", 503),
        PlainTextResponse("Internal Server Error", 500),
        # Somebody else's port.
        PlainTextResponse("hello", 200),
    ],
    ids=["404", "503", "500", "another server"],
)
def test_whatever_else_answers_is_no_graph(answer):
    async def say(_: Request) -> Response:
        return answer

    async def test(port: int, graph: GraphClient) -> None:
        async with served(say, port):
            with pytest.raises(EngineUnavailable, match=f"status {answer.status_code}"):
                await graph.embed("auto", ("a",))

    tried(test, "k")


def test_one_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(client, "_ANSWER_S", 0.2)

    async def hang(_: Request) -> Response:
        await asyncio.sleep(2)
        return PlainTextResponse("late")

    async def test(port: int, graph: GraphClient) -> None:
        async with served(hang, port):
            with pytest.raises(EngineUnavailable, match="in time"):
                await graph.embed("auto", ("a",))

    tried(test, "k")


@pytest.mark.parametrize(("url", "key"), [("127.0.0.1:8101", "k"), ("http://h", "k\n"), ("http://h", "ü")])
def test_an_address_or_key_that_cannot_be_is_refused_at_the_start(url, key):
    with pytest.raises(InvalidSettings, match="graph"):
        GraphClient(url, key)
