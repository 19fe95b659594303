"""An API that is being loaded, or waits for its database: it lives, and says what it lacks."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import msgspec
import pytest

from serving.api import starting
from serving.api.problem import Problem
from serving.api.starting import Early
from tests.serving.commands import ROOT, environment
from tests.serving.cutting import free_port

#: How slow the machine may be, and no more.
LONG_S = 60


class App:
    """An ASGI app that says its own name, and remembers whether it lives."""

    def __init__(self) -> None:
        self.alive = False

    async def __call__(self, scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"the app"})

    @contextlib.asynccontextmanager
    async def lifespan(self):
        self.alive = True
        yield
        self.alive = False


class Lifespan:
    """What a server does with an app: starts it, and stops it."""

    def __init__(self, app) -> None:
        self.heard, self._said = [], asyncio.Queue()
        self._running = asyncio.create_task(app({"type": "lifespan"}, self._said.get, self._hear))

    async def _hear(self, message) -> None:
        self.heard.append(message["type"])

    async def tell(self, what: str) -> None:
        """`startup` or `shutdown`, until it is done."""
        await self._said.put({"type": f"lifespan.{what}"})
        while f"lifespan.{what}.complete" not in self.heard:
            await asyncio.sleep(0.01)


def early(build, body, waits=lambda: "") -> None:
    """Run a test with a server's app that stands for another, and a client of it."""

    async def run() -> None:
        ended = asyncio.Event()
        app = Early(build, ended.set, waits)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            life = Lifespan(app)
            await asyncio.wait_for(life.tell("startup"), LONG_S)
            await asyncio.wait_for(body(app, client, ended), LONG_S)
            await asyncio.wait_for(life.tell("shutdown"), LONG_S)

    asyncio.run(run())


def test_while_it_is_built_it_lives_and_is_not_ready_and_requests_wait():
    real, there = App(), asyncio.Event()

    def build():
        while not there.is_set():
            time.sleep(0.01)
        return real

    async def body(app, client, ended) -> None:
        live, ready = await client.get("/livez"), await client.get("/readyz")
        assert (live.status_code, live.json()) == (200, {"checks": {"api": "ok"}})
        assert (ready.status_code, ready.json()) == (503, {"checks": {"api": "starting"}})
        assert ready.headers["retry-after"] == "1"
        asked = asyncio.create_task(client.get("/v1/jobs"))
        await asyncio.sleep(0.05)
        assert not asked.done()
        there.set()
        assert (await asked).text == "the app"
        assert (await client.get("/livez")).text == "the app"
        assert real.alive

    early(build, body)
    assert not real.alive, "it is ended with the server"


def test_a_request_is_not_held_for_ever(monkeypatch):
    monkeypatch.setattr(starting, "PATIENCE_S", 0.05)
    there = asyncio.Event()
    waits = ""

    def build():
        while not there.is_set():
            time.sleep(0.01)
        return App()

    async def body(app, client, ended) -> None:
        answer = await client.get("/v1/jobs")
        problem = msgspec.json.decode(answer.content, type=Problem, strict=True)
        assert (answer.status_code, problem.code, problem.retryable) == (503, "starting", True)
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem.request_id.startswith("req_")
        assert "waits for its database" in problem.detail
        nonlocal waits
        waits = "its schema is made"
        ready = await client.get("/readyz")
        assert ready.json() == {"checks": {"api": "starting", "database": waits}}
        assert waits in (await client.get("/v1/jobs")).json()["detail"]
        # Told to stop now, it does not wait for what is still being built.

    early(build, body, lambda: waits)
    there.set()


@pytest.mark.parametrize("where", ["built", "begun"])
def test_what_cannot_be_had_ends_the_server(where):
    class Broken(App):
        @contextlib.asynccontextmanager
        async def lifespan(self):
            raise RuntimeError("no")
            yield

    def build():
        if where == "built":
            raise RuntimeError("no")
        return Broken()

    async def body(app, client, ended) -> None:
        await ended.wait()
        assert str(app.failure) == "no"
        assert (await client.get("/v1/jobs")).status_code == 503

    early(build, body)


def _api(folder: Path, database: str, port: int) -> "subprocess.Popen[str]":
    settings = {"DATABASE_URL": database, "DATA_DIR": folder, "PORT": port, "STALLED_S": 0.5}
    env = environment({f"AUTOMATIONS_SERVER__{name}": value for name, value in settings.items()})
    command = [sys.executable, "-m", "serving.cli", "api"]
    return subprocess.Popen(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _asked(address: str) -> httpx.Response:
    until = time.monotonic() + LONG_S
    while True:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(address, trust_env=False, timeout=LONG_S)
        assert time.monotonic() < until
        time.sleep(0.02)


def _cut_off(port: int) -> bool:
    """Whether a client that asks and asks, and takes no answer, is cut off."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 10)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
        until = time.monotonic() + LONG_S
        # Linux ends it silently: who sends something then is told.
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < until:
                time.sleep(0.1)
                client.sendall(b"\r\n")
            return False
    return True


def test_the_command_answers_while_it_waits_for_its_database(tmp_path):
    port = free_port()
    nowhere = f"postgresql://x:y@127.0.0.1:{free_port()}/z"
    with _api(tmp_path, nowhere, port) as process:
        assert _asked(f"http://127.0.0.1:{port}/livez").status_code == 200
        assert _asked(f"http://127.0.0.1:{port}/readyz").status_code == 503
        assert process.stderr is not None
        assert "waiting   the database cannot be reached" in process.stderr.readline()
        assert _cut_off(port)
        assert _asked(f"http://127.0.0.1:{port}/livez").status_code == 200
        process.terminate()
        _, err = process.communicate(timeout=LONG_S)
    assert "Traceback" not in err


def test_the_command_says_in_one_line_what_is_wrong_and_ends(tmp_path):
    with _api(tmp_path, "mysql://x@127.0.0.1/y", free_port()) as process:
        _, err = process.communicate(timeout=LONG_S)
    assert (process.returncode, len(err.strip().splitlines())) == (2, 1), err
    assert "has to be PostgreSQL" in err


def test_the_command_takes_its_database_along(tmp_path):
    port = free_port()
    with _api(tmp_path, "", port) as process:
        # Held until the app is there, so that what is ended is all of it.
        assert _asked(f"http://127.0.0.1:{port}/v1/jobs").status_code in (401, 500, 503)
        running = tmp_path / "postgres" / "postmaster.pid"
        assert running.exists()
        process.terminate()
        _, err = process.communicate(timeout=LONG_S)
    assert (process.returncode, running.exists()) == (0, False), err
