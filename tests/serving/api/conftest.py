"""The API as its callers reach it: HTTP, a real database, keys of two tenants."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import pytest
import uvicorn
from litestar.handlers import HTTPRouteHandler

from serving.api.app import create_app
from serving.auth import opaque
from serving.auth.principals import ROLES
from serving.connections import connections
from serving.db import embedded
from serving.db.accounts import ApiKey
from serving.db.database import Database
from serving.ids import new_id
from serving.options import LimitOptions
from serving.settings import DEFAULTS, Settings
from serving.storage.store import Store
from tests.serving.jobs.conftest import World, url
from tests.serving.sealing import store_at

__all__ = ["url"]

SECRET = b"s" * 32

#: Without limits on requests: tests send many from one address.
SETTINGS = msgspec.structs.replace(DEFAULTS, limits=LimitOptions(requests_per_s=0, unknown_per_s=0))


@dataclass
class Api:
    """Clients of tenants `a` and `b`, who may do everything, and what is behind them."""

    world: World
    address: str
    a: httpx.AsyncClient
    b: httpx.AsyncClient
    nobody: httpx.AsyncClient
    store: Store
    client: Callable
    """key -> a client that sends it."""
    with_key: Callable
    """(tenant, scopes, fields of the key) -> a client with a new key."""


@pytest.fixture
def call(url, tmp_path) -> Callable:
    """Runs `async def test(api)` against the API."""
    return lambda body: asyncio.run(with_api(url, tmp_path, body))


@pytest.fixture(scope="module")
def call_shared(server, tmp_path_factory) -> Iterator[Callable]:
    """As `call`, with one API for all tests of a module that look at answers, whatever others did there."""
    folder = tmp_path_factory.mktemp("shared")
    embedded.copied(server, folder.name)
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        api = runner.run(stack.enter_async_context(_made(embedded.named(server, folder.name), folder)))
        try:
            yield lambda body: runner.run(body(api))
        finally:
            runner.run(stack.aclose())


async def with_api(url: str, folder: Path, body: Callable) -> None:
    """Run `async def test(api)` against an API over a database."""
    async with _made(url, folder) as api:
        await body(api)


@asynccontextmanager
async def served(
    url: str, store: Store, settings: Settings = SETTINGS, *routes: HTTPRouteHandler
) -> AsyncIterator[str]:
    """The API on a port of its own; its address. `routes`: what it answers besides."""
    app = create_app(Database(url), store, settings, SECRET)
    for route in routes:
        app.register(route)
    http = connections(settings.server.stalled_s)
    config = uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1, proxy_headers=False, http=http)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


async def made_key(database: Database, tenant: str, scopes: frozenset[str] = ROLES["admin"], **more) -> str:
    """A key of a tenant."""
    key = opaque.new_key()
    async with database.write("key.create", tenant) as session:
        session.add(
            ApiKey(
                id=new_id("key"),
                tenant_id=tenant,
                name="test",
                hint=opaque.hint(key),
                digest=opaque.digest(SECRET, key),
                scopes=sorted(scopes),
                **more,
            )
        )
    return key


@asynccontextmanager
async def _made(url: str, folder: Path) -> AsyncIterator[Api]:
    database = Database(url)
    world = await World.made(database)
    store = store_at(folder / "objects")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        address = await stack.enter_async_context(served(url, store))

        async def client(key: str | None) -> httpx.AsyncClient:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            # Without certificates, which nothing here has and which take 40 ms to load.
            made = httpx.AsyncClient(base_url=address, headers=headers, timeout=30, verify=False)
            return await stack.enter_async_context(made)

        async def with_key(tenant: str, scopes: frozenset[str] = ROLES["admin"], **more) -> httpx.AsyncClient:
            return await client(await made_key(database, tenant, scopes, **more))

        yield Api(
            world=world,
            address=address,
            a=await with_key("a"),
            b=await with_key("b"),
            nobody=await client(None),
            store=store,
            client=client,
            with_key=with_key,
        )
