"""`automations serve` in a folder where there is nothing yet: its API is there first, and it ends in order whatever
happens meanwhile."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import fasteners
import httpx
import pytest

from serving.db import embedded
from tests.serving.cutting import free_port
from tests.serving.graph.launching import Started, start, until

#: How long what takes seconds may take, on a machine that has other things to do.
LONG_S = 120


class Fresh:
    """A server in a new folder, and when its database may be made."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        # The package that makes databases takes a lock in there.
        own = folder / "run" / "python_PostgresServer"
        own.mkdir(parents=True)
        self.held = fasteners.InterProcessLock(own / ".lockfile")
        self.started: Started | None = None

    def serve(self, **settings: object) -> Started:
        """Start it."""
        more = {"XDG_RUNTIME_DIR": self.folder / "run", "AUTOMATIONS_SERVER__PORT": self.port}
        self.started = start(self.folder, "serve", "--engine", "local", **(more | settings))
        return self.started

    def answer(self, path: str) -> httpx.Response | None:
        """What it answers; None while it does not."""
        assert self.started is not None
        assert self.started.process.poll() is None, self.started.said()
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}{path}", trust_env=False, timeout=LONG_S)
        except httpx.TransportError:
            return None

    @property
    def made(self) -> bool:
        """Whether there is a database."""
        return (self.folder / "data" / "postgres" / "PG_VERSION").exists()


@pytest.fixture
def fresh(tmp_path) -> Iterator[Fresh]:
    made = Fresh(tmp_path)
    yield made
    if made.started is not None:
        made.started.kill()


def test_the_api_answers_before_there_is_a_database(fresh):
    with fresh.held:
        started = fresh.serve()
        assert until(lambda: fresh.answer("/livez"), LONG_S, "/livez").status_code == 200

        def waits() -> httpx.Response | None:
            answer = fresh.answer("/readyz")
            return answer if answer is not None and "database" in answer.json()["checks"] else None

        ready = until(waits, LONG_S, "/readyz says what is waited for")
        assert (ready.status_code, ready.headers["retry-after"]) == (503, "1")
        assert ready.json() == {"checks": {"api": "starting", "database": "its database is made"}}
        assert not fresh.made
        assert "key " not in started.said()
    until(lambda: (it := fresh.answer("/readyz?part=api")) and it.status_code == 200, LONG_S, "the API takes jobs")
    said = started.says("\ntry ", LONG_S)
    (key,) = re.findall(r"^key +(\S+)", said, re.MULTILINE)
    names = [line.split()[0] for line in said.splitlines() if line[:1].isalpha()]
    assert [name for name in names if name in GREETING] == GREETING
    asked = httpx.get(
        f"http://127.0.0.1:{fresh.port}/v1/videos", headers={"Authorization": f"Bearer {key}"}, trust_env=False
    )
    assert asked.status_code == 200
    assert started.ended(signal.SIGTERM, LONG_S) == 0
    started.nothing_left(5)
    said = started.said()
    assert said.count(key) == 2, "once by itself, and once in the line to try"
    assert "shutting down" not in said, "the database is the last to end"
    assert "Traceback" not in said


GREETING = ["API", "docs", "data", "database", "engine", "key", "try"]


def test_ctrl_c_while_the_database_is_made_leaves_nothing(fresh):
    started = fresh.serve()
    until(lambda: started.named("initdb"), LONG_S, "the database is made")
    # As a terminal sends it: to all in the foreground.
    os.killpg(started.process.pid, signal.SIGINT)
    assert started.process.wait(LONG_S) == 0, started.said()
    started.nothing_left(5)
    assert "Traceback" not in started.said()
    assert "key " not in started.said()
    assert fresh.made or not list((fresh.folder / "data").glob(".postgres-*"))
    # What is there can be gone on with.
    with embedded.embedded(fresh.folder / "data" / "postgres"):
        assert fresh.made


def test_who_is_told_twice_does_not_wait_for_the_database(fresh):
    with fresh.held:
        started = fresh.serve()
        until(lambda: fresh.answer("/livez"), LONG_S, "/livez")
        started.process.send_signal(signal.SIGTERM)
        until(lambda: not started.named("serving.handed_api"), LONG_S, "the API ends")
        assert started.process.poll() is None
        assert started.ended(signal.SIGTERM, LONG_S) == 0
        started.nothing_left(5)
    assert not fresh.made


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        # Half of a database, and something else.
        ("postgres/PG_VERSION", "18\n", "cannot be made or started: .*pg_hba.conf.*[[]database_unavailable[]]"),
        (
            "postgres/base",
            "",
            "cannot be made or started: .*base is there, but no .*[[]database_unavailable[]]",
        ),
        ("objects", "a file\n", "server.data_dir: .*cannot be used.*[[]invalid_settings[]]"),
        ("secret", "short", "(others may read|5 bytes).*"),
    ],
)
def test_what_cannot_be_had_is_one_line_and_ends_it(fresh, name, content, told):
    file = fresh.folder / "data" / name
    file.parent.mkdir(parents=True)
    file.write_text(content)
    started = fresh.serve()
    assert started.process.wait(LONG_S) == 2, started.said()
    (line,) = [line for line in started.said().splitlines() if line.startswith("error: ")]
    assert re.search(told, line), line
    assert "Traceback" not in started.said()
    started.nothing_left(5)


def test_a_port_that_is_taken_ends_it_before_there_is_a_key(fresh):
    with socket.create_server(("127.0.0.1", fresh.port)):
        started = fresh.serve()
        assert started.process.wait(LONG_S) == 3
    assert "address already in use" in started.said()
    assert "key " not in started.said()
    started.nothing_left(5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nobody_has_to_wait_for_a_database_that_does_not_come(fresh, number):
    started = fresh.serve(AUTOMATIONS_SERVER__DATABASE_URL=f"postgresql://x:y@127.0.0.1:{free_port()}/z")
    started.says("waiting   the database cannot be reached", LONG_S)

    def waits() -> bool:
        answer = fresh.answer("/readyz")
        return answer is not None and answer.json()["checks"].get("database") == "its database does not answer yet"

    until(waits, LONG_S, "/readyz says what is waited for")
    assert started.ended(number, 30) == 0
    started.nothing_left(5)
    assert "Traceback" not in started.said()
