"""A server with a worker that tags and learns, for `benchmarks.taxonomies`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import msgspec
import numpy as np
import uvicorn

from benchmarks.search_quality import OneToolkit, key_of
from pipeline.indexing import Index
from pipeline.tags import holding
from pipeline.toolkit import Toolkit
from serving.api.app import create_app
from serving.db.accounts import Tenant
from serving.db.database import SYSTEM, Database
from serving.db.media import Video
from serving.ids import new_id
from serving.jobs.listening import Listener
from serving.options import LimitOptions
from serving.search.writing import write_vectors
from serving.settings import DEFAULTS
from serving.storage.keyring import Keyring
from serving.storage.master import LocalMaster
from serving.storage.store import Store
from serving.tagging.learner import Learner
from serving.tagging.tagger import Tagger
from serving.tagging.writing import TAGGING_CHANNEL

#: As `search_quality` makes keys with.
_SECRET: Final = b"b" * 32


@dataclass(frozen=True, slots=True)
class World:
    """A server with a worker that tags."""

    database: Database
    address: str
    toolkit: Toolkit

    async def tenant(self, name: str) -> httpx.AsyncClient:
        """A new tenant's client."""
        async with self.database.write("tenant.create", SYSTEM) as session:
            session.add(Tenant(id=name, name=name))
        headers = {"Authorization": f"Bearer {await key_of(self.database, name)}"}
        return httpx.AsyncClient(base_url=self.address, headers=headers, timeout=60)

    async def put(self, tenant: str, videos: Sequence[np.ndarray]) -> list[str]:
        """Videos with a sample a second, float32 [N, D] each; their ids."""
        encoder, ids = self.toolkit.encoder, [new_id("vid") for _ in videos]
        async with self.database.write("video.write", SYSTEM) as session:
            for name, rows in zip(ids, videos, strict=True):
                more = {"size_bytes": 1, "sha256": name, "object_key": name, "duration_s": float(len(rows))}
                session.add(Video(id=name, tenant_id=tenant, title=name, status="analyzed", **more))
            await session.flush()
            for name, rows in zip(ids, videos, strict=True):
                at_s = np.arange(len(rows), dtype=np.float64)
                starts_s, ends_s = holding(at_s, float(len(rows)))
                index = Index(
                    space=encoder.info.space,
                    model="bundled",
                    likelihood=encoder.likelihood,
                    pts_s=at_s,
                    starts_s=starts_s,
                    ends_s=ends_s,
                    shots=np.zeros(len(rows), np.int64),
                    vectors=rows,
                    segments=(),
                    segment_vectors=np.zeros((0, rows.shape[1]), np.float32),
                )
                await write_vectors(session, tenant, name, index)
        return ids


@asynccontextmanager
async def served(url: str, toolkit: Toolkit, folder: Path) -> AsyncIterator[World]:
    """An API and a worker while the block lasts."""
    settings = msgspec.structs.replace(DEFAULTS, limits=LimitOptions(requests_per_s=0, unknown_per_s=0))
    async with AsyncExitStack() as stack:
        database = Database(url)
        stack.push_async_callback(database.close)
        listener = await stack.enter_async_context(Listener(url, (TAGGING_CHANNEL,)))
        stop, toolkits = asyncio.Event(), OneToolkit(toolkit)
        tagger = Tagger(database, toolkits, listener, learner=Learner(database, toolkits, quiet_s=3600.0))
        working = asyncio.create_task(tagger.serve(stop))
        app = create_app(Database(url), Store(folder / "objects", Keyring(LocalMaster([bytes(32)]))), settings, _SECRET)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.05)
        yield World(database, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", toolkit)
        server.should_exit = True
        await serving
        stop.set()
        await working
