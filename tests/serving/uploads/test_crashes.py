"""The API dies before or after any durable write of an upload: whoever resumes it ends up with exactly one video."""

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from serving.db import embedded, failpoints
from serving.db.database import Database
from serving.storage import owning
from serving.uploads import cleaning
from serving.uploads.tus import Uploads
from tests.serving.sealing import kept_in, store_at
from tests.serving.uploads.conftest import OPTIONS, Api, Tus, clients, prepared

ROOT = Path(__file__).parents[3]

#: All that an upload comes past, some of it for the first time and some of it later: the last object is the video.
POINTS = [
    f"{name}:{moment}{nth}"
    for name, nths in (
        ("upload.create", ("",)),
        ("object.put", ("", ":2", ":3", ":5")),
        ("upload.append", ("", ":2", ":4")),
        ("upload.complete", ("",)),
        ("object.delete", ("", ":3")),
    )
    for moment in ("before", "after")
    for nth in nths
]


class Crasher:
    """Starts APIs that die."""

    def __init__(self, server: str, folder: Path, process: subprocess.Popen) -> None:
        self.server, self.folder, self._process = server, folder, process

    def _said(self, line: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    @contextmanager
    def api(self, name: str, keys: dict[str, str], point: str = "") -> Iterator[Tus]:
        """A client of an API that may be gone at any time, and was, where there is a point."""
        port = self._said(f"{name} {point}")
        try:
            with clients(f"http://127.0.0.1:{port}", keys) as (a, _):
                yield a
        finally:
            code = self._said("end")
            assert (code == failpoints.EXIT) == bool(point), code


@pytest.fixture(scope="module")
def crasher(server, tmp_path_factory) -> Iterator[Crasher]:
    folder = tmp_path_factory.mktemp("crashing")
    command = (sys.executable, "-m", "tests.serving.uploads.crashing", server, str(folder))
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Crasher(server, folder, process)
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def place(crasher, request) -> tuple[str, dict[str, str], Api]:
    """A database of the test's own, keys, and a look at what is in it."""
    name = "up_" + "".join(letter if letter.isalnum() else "_" for letter in request.node.name)[-50:]
    embedded.copied(crasher.server, name)
    where = embedded.named(crasher.server, name)
    keys = asyncio.run(prepared(where))
    folder = crasher.folder / name
    nobody = Tus(httpx.Client(verify=False), "")
    return name, keys, Api(nobody, nobody, where, store_at(folder), folder)


def _story(client: Tus, film: bytes, known: list[str]) -> dict:
    """What a client does that resumes: it goes on with what it knows of, in two pieces."""
    if not known:
        known.append(client.create(len(film)))
    while (offset := client.offset(known[0])) < len(film):
        piece = film[offset : offset + len(film) // 2]
        assert client.patch(known[0], offset, piece).status_code == 204
    return client.record(known[0])


def _clean(inside: Api) -> None:
    """What the clean-up does, as if a day had passed."""

    async def clean() -> None:
        database = Database(inside.url, pool_size=2)
        try:
            await cleaning.expire(database, inside.store)
            await cleaning.finish_left(database, Uploads(database, inside.store, OPTIONS))
            # As a server does when it starts, while the store is empty.
            await owning.claim(database, inside.store)
            await cleaning.sweep(database, inside.store, older_than_s=-60)
        finally:
            await database.close()

    asyncio.run(clean())


def _require_one_video(inside: Api, film: bytes) -> str:
    ((video_id, sha256, key),) = inside.sql("SELECT id, sha256, object_key FROM video")
    assert sha256 == hashlib.sha256(film).hexdigest()
    _clean(inside)
    assert inside.files() == [key]
    assert kept_in(inside.url, inside.store, key) == film
    assert inside.sql("SELECT * FROM upload_part") == []
    return video_id


@pytest.mark.parametrize("point", POINTS)
def test_whoever_resumes_gets_one_video(crasher, place, film, point):
    name, keys, inside = place
    known: list[str] = []
    with crasher.api(name, keys, point) as client, pytest.raises(httpx.TransportError):
        _story(client, film, known)
    with crasher.api(name, keys) as client:
        record = _story(client, film, known)
    assert record["status"] == "completed"
    assert record["video_id"] == _require_one_video(inside, film)


@pytest.mark.parametrize("point", ["object.put:before:3", "object.put:after:3", "upload.complete:before"])
def test_nobody_resumes_what_is_whole(crasher, place, film, point):
    """The client heard nothing and went away: the clean-up makes the video."""
    name, keys, inside = place
    with crasher.api(name, keys, point) as client, suppress(httpx.TransportError):
        path = client.create(2 * OPTIONS.part_bytes)
        client.patch(path, 0, film[: 2 * OPTIONS.part_bytes])
    assert inside.sql("SELECT id FROM video") == []
    _clean(inside)
    assert inside.sql("SELECT id FROM video") == [], "it may be somebody's who still works on it"
    inside.sql("UPDATE upload SET updated_at = now() - interval '10 min'")
    _clean(inside)
    _require_one_video(inside, film[: 2 * OPTIONS.part_bytes])
    assert inside.sql("SELECT status FROM upload") == [("completed",)]


@pytest.mark.parametrize("point", ["upload.end:before", "upload.end:after", "object.delete:before"])
@pytest.mark.parametrize("how", ["garbage", "cancel"])
def test_an_end_is_an_end(crasher, place, point, how):
    name, keys, inside = place
    garbage = b"no video" * 2000
    with crasher.api(name, keys, point) as client:
        path = client.create(len(garbage) + (how == "cancel"))
        with suppress(httpx.TransportError):
            client.patch(path, 0, garbage)
            client.http.delete(path, headers={"Tus-Resumable": "1.0.0"})
    with crasher.api(name, keys) as client:
        if how == "garbage":
            assert client.patch(path, len(garbage), b"").status_code == 422
        else:
            assert client.http.delete(path, headers={"Tus-Resumable": "1.0.0"}).status_code in (204, 410)
        assert client.record(path)["status"] == {"garbage": "errored", "cancel": "canceled"}[how]
    _clean(inside)
    assert (inside.files(), inside.sql("SELECT id FROM video")) == ([], [])
