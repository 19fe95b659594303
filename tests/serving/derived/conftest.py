"""The API with a film in it, and more processes of it, which know nothing but what is kept."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from pipeline.sandbox.client import Sandbox
from tests.serving.api.conftest import Api, call, served
from tests.serving.jobs.conftest import run, url
from tests.serving.playback import films

__all__ = ["call", "run", "url"]


@pytest.fixture(scope="session")
def h264(tmp_path_factory) -> bytes:
    """Ten seconds with sound, which browsers play."""
    return films.film(tmp_path_factory.mktemp("films") / "x.mp4", films.H264).read_bytes()


@pytest.fixture(scope="session")
def hevc(tmp_path_factory) -> bytes:
    """A second that they do not."""
    return films.film(tmp_path_factory.mktemp("films") / "h.mp4", films.HEVC, 1.0).read_bytes()


@asynccontextmanager
async def started(api: Api, url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of tenant `a` at a process of the API that has just started."""
    headers = {"Authorization": api.a.headers["authorization"]}
    async with (
        served(url, api.store) as address,
        httpx.AsyncClient(base_url=address, headers=headers, timeout=60, verify=False) as client,
    ):
        yield client


async def answers(client, video: str, *paths: str) -> dict[str, bytes]:
    """What it says of a video, by path."""
    found = {}
    for path in paths:
        answer = await client.get(f"/v1/videos/{video}/{path}")
        assert answer.status_code == 200, (path, answer.text)
        found[path] = answer.content
    return found


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """One for each time that a locked-in process is asked for, which is how a video is read."""
    asked, worker = [], Sandbox.worker

    def counted(self, *args, **more):
        asked.append("worker")
        return worker(self, *args, **more)

    monkeypatch.setattr(Sandbox, "worker", counted)
    return asked
