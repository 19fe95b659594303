"""What a client does with jobs and videos besides waiting for a result: change, cancel, try again, delete.

The client keeps a diary of what it was answered. What it was not answered, it asks for again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
from litestar import Litestar

from pipeline.errors import ModelUnavailable
from pipeline.toolkit import Toolkit
from serving.api.app import create_app
from serving.db.database import Database
from serving.jobs.queue import Queue
from serving.jobs.running import Tools, run
from serving.options import LimitOptions
from serving.settings import DEFAULTS
from serving.storage.store import Store

#: So short that a dead worker's job is another's within a test.
LEASE_S = 0.6

#: Of the key that the client has.
SECRET, KEY = b"changing".ljust(32, b"."), "aut_" + "changing".ljust(43, "x")

#: A client and an API in one process: limits are somebody else's story.
_SETTINGS = msgspec.structs.replace(DEFAULTS, limits=LimitOptions(requests_per_s=0, unknown_per_s=0))


class Models:
    """`nobody` cannot be had; `slow` is never done loading, nor is `back` until a job was given back for it."""

    def __init__(self) -> None:
        self.patient = True
        self.asked = asyncio.Event()

    async def get(self, model: str, also: Sequence[str] = ()) -> Toolkit:
        """See `Toolkits.get`."""
        self.asked.set()
        if model == "slow" or (model == "back" and self.patient):
            await asyncio.Event().wait()
        raise ModelUnavailable(f"{model} is not there")


class Client:
    """Asks until it is answered, over all its lives."""

    def __init__(self, http: httpx.AsyncClient, diary: Path) -> None:
        self.http, self._diary = http, diary
        self._done = set(diary.read_text().splitlines()) if diary.exists() else set()

    async def once(self, step: str, ask: Callable[[], Awaitable[httpx.Response]], also: int = 0) -> None:
        """One step. `also`: the status that says that it was done before, by a life that was not told."""
        if step in self._done:
            return
        answer = await ask()
        assert answer.is_success or answer.status_code == also, f"{step}: {answer.status_code} {answer.text}"
        with self._diary.open("a") as diary:
            diary.write(step + "\n")

    async def job(self, name: str) -> dict[str, Any]:
        """As it is now."""
        return (await self.http.get(f"/v1/jobs/{name}")).json()

    async def over(self, name: str) -> None:
        """Until it is."""
        while (await self.job(name))["state"] in ("queued", "running"):
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def working(tools: Tools, stop: asyncio.Event) -> AsyncIterator[None]:
    """A worker at work, until `stop`."""

    async def work() -> None:
        while True:
            await tools.queue.reap()
            lease = None if stop.is_set() else await tools.queue.claim("w")
            if lease is not None:
                await run(lease, tools, stop)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def made(url: str, store: Store) -> Litestar:
    """The API over a database."""
    return create_app(Database(url, pool_size=4), store, _SETTINGS, SECRET)


async def story(url: str, store: Store, film: Path, diary: Path) -> None:
    """All of it, tried until it is so."""
    database = Database(url, pool_size=4)
    app = made(url, store)
    models = Models()
    tools = Tools(Queue(database, store.keyring, lease_s=LEASE_S), store, models)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),  # type: ignore[arg-type]
        base_url="http://here",
        headers=headers,
        timeout=30,
        verify=False,
    ) as http:
        await _live(Client(http, diary), film.read_bytes(), tools, models)
    await database.close()


async def _live(client: Client, film: bytes, tools: Tools, models: Models) -> None:
    http, once = client.http, client.once

    def put(job: str, model: str, video: str):
        return lambda: http.put(f"/v1/jobs/{job}", json={"video_id": video, "spec": {"model": model}})

    def act(job: str, action: str):
        return lambda: http.post(f"/v1/jobs/{job}/{action}")

    # One that goes again, with a job that waits.
    await once("doomed", lambda: http.post("/v1/videos", content=film + b"more", params={"title": "doomed"}))
    for video in (await http.get("/v1/videos", params={"q": "doomed"})).json()["data"]:
        await once("doomed job", put("doomed", "nobody", video["id"]))
        await once("gone", lambda video=video: http.delete(f"/v1/videos/{video['id']}"), also=404)
    # One that stays.
    await once("film", lambda: http.post("/v1/videos", content=film, params={"title": "film"}))
    ((video),) = (await http.get("/v1/videos")).json()["data"]
    here = f"/v1/videos/{video['id']}"
    await once("changed", lambda: http.patch(here, json={"title": "Film", "labels": ["kept"]}))
    # Canceled while it waits, tried again; then it fails.
    await once("waits", put("waits", "nobody", video["id"]))
    await once("waits canceled", act("waits", "cancel"))
    await once("waits again", act("waits", "retry"), also=409)
    async with working(tools, asyncio.Event()):
        await client.over("waits")
        # Canceled while it runs.
        await once("slow", put("slow", "slow", video["id"]))
        while (await client.job("slow"))["state"] == "queued":
            await asyncio.sleep(0.05)
        await once("slow canceled", act("slow", "cancel"))
        await client.over("slow")
    # Given back by a worker that ends; then another one has it, and it fails.
    await once("back", put("back", "back", video["id"]))
    models.asked.clear()
    stop = asyncio.Event()
    if (await client.job("back"))["state"] in ("queued", "running"):
        async with working(tools, stop):
            await models.asked.wait()
            stop.set()
            while (await client.job("back"))["state"] == "running":
                await asyncio.sleep(0.05)
        models.patient = False
        async with working(tools, asyncio.Event()):
            await client.over("back")
