"""A worker that encodes what is due, and nothing else."""

import asyncio
import time
from contextlib import asynccontextmanager

import httpx

from serving.db.database import Database
from serving.playback import renditions
from serving.playback.renderer import Renderer
from serving.settings import DEFAULTS
from serving.storage.store import Store
from tests.serving.playback.conftest import uploaded


async def rendered(
    client: httpx.AsyncClient, database: Database, store: Store, video: str, *, force: bool = False
) -> dict:
    """What is told of a video once its rendition is over, which is asked for here."""
    asked = await client.post(f"/v1/videos/{video}/rendition", params={"force": force} if force else {})
    assert (asked.status_code, asked.json()["state"]) == (202, "due"), asked.text
    stop = asyncio.Event()
    working = asyncio.create_task(Renderer(database, store, DEFAULTS).serve(stop))
    try:
        ends = time.monotonic() + 120
        while True:
            seen = (await client.get(f"/v1/videos/{video}/playback")).json()
            if seen["rendition"]["state"] != "due":
                return seen
            assert time.monotonic() < ends
            await asyncio.sleep(0.2)
    finally:
        stop.set()
        await working


@asynccontextmanager
async def claimed(api, content: bytes, settings=DEFAULTS):
    """(id of a video, a renderer, its claim of it)."""
    video = await uploaded(api.a, content, "h.mp4")
    async with api.world.database.write("rendition.write", "a") as session:
        await renditions.ask(session, "a", video)
    renderer = Renderer(api.world.database, api.store, settings)
    (claim,) = await renderer.claim(1, [])
    try:
        yield video, renderer, claim
    finally:
        renderer._encoder.close()


async def row_of(api):
    (row,) = await api.world.sql("SELECT *, next_at > now() + interval '5 seconds' AS later FROM rendition")
    return row
