"""A worker that encodes what is due, and nothing else."""

import asyncio
import time

import httpx

from serving.db.database import Database
from serving.playback.renderer import Renderer
from serving.settings import DEFAULTS
from serving.storage.store import Store


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
