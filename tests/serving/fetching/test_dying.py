"""A fetcher dies before or after any durable write: the next comes to the same, one video and one job."""

import asyncio
import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from serving.db import embedded, failpoints
from serving.db.database import Database
from serving.fetching import requests
from serving.requests import FetchRequest, JobAfter
from serving.storage import owning
from serving.uploads import cleaning
from tests.serving.fetching.conftest import OPTIONS
from tests.serving.sealing import kept_in, keyring, store_at
from tests.serving.uploads.conftest import Api, Tus, prepared

ROOT = Path(__file__).parents[3]

#: Name of a write -> what it comes past there.
POINTS = [
    f"{name}:{moment}"
    for name in ("fetch.claim", "fetch.renew", "fetch.retry", "object.put", "upload.complete")
    for moment in ("before", "after")
]


class _Films(BaseHTTPRequestHandler):
    """The first answer is that there is none yet; later ones take their time, so that there is something to tell."""

    film = b""
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        if self.path == "/nothing" or self.asked == 1:
            self.send_response(404 if self.path == "/nothing" else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.film)))
        self.end_headers()
        try:
            for at in range(0, len(self.film), len(self.film) // 4):
                self.wfile.write(self.film[at : at + len(self.film) // 4])
                time.sleep(0.05)
        except OSError:
            # Whoever asked has died, as they were to.
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def films(film) -> Iterator[str]:
    handler = type("Films", (_Films,), {"film": film, "asked": 0})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as there:
        threading.Thread(target=there.serve_forever, daemon=True).start()
        yield f"http://films.example.com:{there.server_port}"
        there.shutdown()


@pytest.fixture(scope="module")
def fetch(server, tmp_path_factory) -> Iterator[tuple[Path, Callable[[str, str], int]]]:
    """Where objects are, and what fetches all that is in a database, dying at a point; how it ended."""
    folder = tmp_path_factory.mktemp("dying")
    command = (sys.executable, "-m", "tests.serving.fetching.dying", server, str(folder))
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def run(name: str, point: str = "") -> int:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{name} {point}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield folder, run
        assert process.stdin is not None
        process.stdin.close()


def _prepared(server: str, folder: Path, name: str, url: str) -> Api:
    """A database with an upload of tenant a, and a look at what is in it."""
    embedded.copied(server, name)
    where = embedded.named(server, name)
    asyncio.run(prepared(where))

    async def ask() -> None:
        database = Database(where, pool_size=1)
        asked = FetchRequest(url=url, job=JobAfter())
        try:
            await requests.submit(database, keyring(), OPTIONS, "a", asked, key="once")
        finally:
            await database.close()

    asyncio.run(ask())
    nobody = Tus(None, "")  # type: ignore[arg-type]
    return Api(nobody, nobody, where, store_at(folder / name), folder / name)


def _swept(inside: Api) -> None:
    """What the clean-up does, as if a day had passed."""

    async def sweep() -> None:
        database = Database(inside.url, pool_size=1)
        try:
            # As a server does when it starts, while the store is empty.
            await owning.claim(database, inside.store)
            await cleaning.sweep(database, inside.store, older_than_s=-60)
        finally:
            await database.close()

    asyncio.run(sweep())


@pytest.mark.parametrize("point", POINTS)
def test_dying_there_comes_to_the_same(server, fetch, films, film, point):
    folder, run = fetch
    name = "fetch_" + point.replace(":", "_").replace(".", "_")
    inside = _prepared(server, folder, name, f"{films}/film.mp4")
    assert run(name, point) == failpoints.EXIT
    assert run(name) == 0
    ((status, video_id, job_id, error),) = inside.sql("SELECT status, video_id, job_id, error FROM upload")
    assert (status, error) == ("completed", None)
    ((found, sha256, key, title),) = inside.sql("SELECT id, sha256, object_key, title FROM video")
    assert (found, sha256, title) == (video_id, hashlib.sha256(film).hexdigest(), "film.mp4")
    assert inside.sql("SELECT id, video_id, state FROM job") == [(job_id, video_id, "queued")]
    _swept(inside)
    assert inside.files() == [key]
    assert kept_in(inside.url, inside.store, key) == film


@pytest.mark.parametrize("point", ["upload.end:before", "upload.end:after"])
def test_dying_over_what_cannot_be_had(server, fetch, films, point):
    folder, run = fetch
    name = "fetch_" + point.replace(":", "_").replace(".", "_")
    inside = _prepared(server, folder, name, f"{films}/nothing")
    assert run(name, point) == failpoints.EXIT
    assert run(name) == 0
    ((status, error),) = inside.sql("SELECT status, error FROM upload")
    assert (status, error["code"]) == ("errored", "fetch_failed")
    assert (inside.files(), inside.sql("SELECT id FROM video"), inside.sql("SELECT id FROM job")) == ([], [], [])


@pytest.mark.parametrize("moment", ["before", "after"])
def test_who_asks_again_after_a_crash_gets_one(run, monkeypatch, moment):
    """The API died over the request, before or after it was written; its client sends it again."""

    class DiedError(Exception):
        pass

    def reach(name: str, when: str) -> None:
        if (name, when) == ("upload.create", moment):
            raise DiedError

    async def body(world):
        def ask():
            asked = FetchRequest(url="https://example.com/")
            return requests.submit(world.database, world.keyring, OPTIONS, "a", asked, key="k")

        with monkeypatch.context() as patched:
            patched.setattr(failpoints, "reach", reach)
            with pytest.raises(DiedError):
                await ask()
        upload = await ask()
        assert await world.sql("SELECT id FROM upload") == [(upload.id,)]

    run(body)
