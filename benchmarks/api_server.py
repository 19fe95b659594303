"""The server that `benchmarks.api` asks: the real API, and beside it the least that a handler and a query can be.

python -m benchmarks.api_server URL FOLDER SECRET_HEX     prints its port
"""

import asyncio
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import uvicorn
import uvloop
from litestar import Litestar, Request, Response, get, post

from serving.api.app import create_app
from serving.db.database import Database
from serving.options import LimitOptions
from serving.settings import DEFAULTS
from serving.storage.keyring import Keyring
from serving.storage.master import LocalMaster
from serving.storage.store import Store

_BODY = b'{"id":"job_00000000000000000000000000","state":"queued"}'


@get("/bare")
async def bare() -> Response[bytes]:
    """A handler that does nothing."""
    return Response(_BODY, media_type="application/json")


@post("/swallow", request_max_body_size=None)
async def swallow(request: Request[Any, Any, Any]) -> Response[bytes]:
    """An upload that is thrown away."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return Response(str(size).encode(), media_type="text/plain")


def plain(url: str) -> Litestar:
    """An app with nothing but these, and one query."""
    pool: list[asyncpg.Pool] = []

    @get("/query/{job_id:str}")
    async def query(job_id: str) -> Response[bytes]:
        """A handler that reads one row by its key."""
        if not pool:
            pool.append(await asyncpg.create_pool(url, min_size=4, max_size=10))
        async with pool[0].acquire() as connection, connection.transaction():
            await connection.execute("SELECT set_config('app.tenant', 'a', true)")
            row = await connection.fetchrow("SELECT id, state FROM job WHERE tenant_id = 'a' AND id = $1", job_id)
        return Response(f'{{"id":"{row["id"]}","state":"{row["state"]}"}}'.encode(), media_type="application/json")

    return Litestar([bare, swallow, query], logging_config=None, openapi_config=None)


def main() -> None:
    """Serve the API and what it is compared with, each on a port of its own."""
    url, folder, secret = sys.argv[1], Path(sys.argv[2]), bytes.fromhex(sys.argv[3])
    # One key asks as fast as it can: not as many times a second as is let in, but as many as can be answered.
    settings = msgspec.structs.replace(DEFAULTS, limits=LimitOptions(requests_per_s=1e6, burst=1_000_000))
    api = create_app(Database(url), Store(folder, Keyring(LocalMaster([bytes(32)]))), settings, secret)
    # As uvicorn would, were it not two servers in one process.
    uvloop.run(serve([api, plain(url)]))


async def serve(apps: Sequence[Litestar]) -> None:
    """Serve each on a port of its own, which is printed, until stdin ends."""
    servers = []
    for app in apps:
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", access_log=False))
        servers.append((server, asyncio.create_task(server.serve())))
        while not server.started:
            await asyncio.sleep(0.01)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    # As `serve_api` does.
    gc.collect()
    gc.freeze()
    await asyncio.to_thread(sys.stdin.read)
    for server, task in servers:
        server.should_exit = True
        await task


if __name__ == "__main__":
    main()
