"""The real API, real fetchers, and a film on a real server of this machine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from serving.egress import Egress
from serving.fetching import claims
from serving.fetching.fetcher import Fetcher
from serving.options import UPLOAD_OPTIONS, UploadOptions
from tests.serving.api.conftest import call
from tests.serving.jobs.conftest import run, url
from tests.serving.uploads.conftest import film
from tests.serving.webhooks.receiver import LOOPBACK

__all__ = ["call", "film", "run", "url"]

OPTIONS = msgspec.structs.replace(UPLOAD_OPTIONS, max_bytes=1 << 20)


async def here(host: str, port: int) -> list[str]:
    """A resolver that finds every name on this machine."""
    return ["127.0.0.1"]


def named(receiver, path: str = "/film.mp4") -> str:
    """A URL that the API takes for one of the public Internet."""
    return f"http://films.example.com:{receiver.port}{path}"


def holding(film: bytes, *headers: str, status: int = 200):
    """An answer that is a film."""
    head = "".join(f"{header}\r\n" for header in headers)
    answer = f"HTTP/1.1 {status} OK\r\ncontent-length: {len(film)}\r\n{head}\r\n".encode() + film
    return lambda _: answer


def fetcher(api, options: UploadOptions = OPTIONS, egress: Egress | None = None, **how) -> Fetcher:
    """One that finds all names here."""
    egress = egress or Egress(allowed=LOOPBACK, resolve=here)
    return Fetcher(api.world.database, api.store, options, egress, **how)


@asynccontextmanager
async def fetching(api, *args, **how) -> AsyncIterator[None]:
    """A fetcher while the block lasts."""
    stop = asyncio.Event()
    task = asyncio.create_task(fetcher(api, *args, **how).serve(stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def asked(api, url: str, **more) -> dict:
    """An upload by URL."""
    answer = await api.a.post("/v1/uploads/url", json={"url": url, **more})
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == answer.json()["links"]["self"]
    return answer.json()


async def seen(api, upload: dict) -> dict:
    """It, as it is now."""
    answer = await api.a.get(upload["links"]["self"])
    assert answer.status_code == 200, answer.text
    return answer.json()


async def over(api, upload: dict, *, timeout_s: float = 20.0) -> dict:
    """It, once it does not wait any more."""
    async with asyncio.timeout(timeout_s):
        while (now := await seen(api, upload))["status"] == "waiting":
            await asyncio.sleep(0.02)
    return now


async def objects(api) -> list[str]:
    """Keys of all videos in the store."""
    soon = datetime.now(UTC) + timedelta(minutes=1)
    return [key async for keys in api.store.older("videos", soon) for key in keys]


@pytest.fixture
def at_once(monkeypatch) -> None:
    """What failed is tried again without a pause."""
    monkeypatch.setattr(claims, "RETRY_AFTER_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr("serving.fetching.fetcher._MOST_ATTEMPTS", 4)
    monkeypatch.setattr("serving.claiming.POLL_S", 0.02)
