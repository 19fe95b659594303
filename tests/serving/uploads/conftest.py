"""The API on a loopback port, in a thread of its own, over a real database; and a small client that speaks tus."""

import asyncio
import base64
import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
import uvicorn
from sqlalchemy import text

from pipeline.synthesis import Encoding, write_video
from serving.api.app import create_app
from serving.auth import opaque
from serving.auth.principals import SCOPES
from serving.db import embedded
from serving.db.accounts import ApiKey, Tenant
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.options import UploadOptions
from serving.settings import DEFAULTS, Settings
from serving.storage.owning import OWNER
from serving.storage.store import Store
from tests.formats.chart import moments
from tests.serving.blobs import Blobs
from tests.serving.jobs.conftest import url
from tests.serving.sealing import store_at

__all__ = ["url"]

SECRET = b"s" * 32

#: Small, so that one request makes several parts.
OPTIONS = UploadOptions(max_bytes=1 << 20, part_bytes=9_000, expires_s=3600)

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = TUS | {"Content-Type": "application/offset+octet-stream"}


def settings_with(options: UploadOptions) -> Settings:
    """The defaults, but for uploads."""
    return msgspec.structs.replace(DEFAULTS, upload=options)


def encoded(**values: str) -> str:
    """`Upload-Metadata`."""
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())


def checksum(data: bytes, algorithm: str = "sha256") -> str:
    """`Upload-Checksum`."""
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"


@dataclass
class Tus:
    """A tenant's client."""

    http: httpx.Client
    key: str

    def create(self, size: int | None, **headers: str) -> str:
        """Path of a new upload."""
        length = {"Upload-Defer-Length": "1"} if size is None else {"Upload-Length": str(size)}
        made = self.http.post("/v1/uploads", headers=TUS | length | headers)
        assert made.status_code == 201, made.text
        return made.headers["Location"]

    def offset(self, path: str) -> int:
        """Where it goes on."""
        found = self.http.head(path, headers=TUS)
        assert found.status_code == 200, found.status_code
        return int(found.headers["Upload-Offset"])

    def patch(self, path: str, offset: int, data: bytes, **headers: str) -> httpx.Response:
        """Send a piece."""
        return self.http.patch(path, headers=BYTES | {"Upload-Offset": str(offset)} | headers, content=data)

    def cut(self, path: str, offset: int, data: bytes, claimed: int, *, wait_s=0.2, **headers: str) -> None:
        """Send the beginning of a piece that was to be longer, wait, and hang up. What the server has not read by then,
        it never sees."""
        where = urlsplit(str(self.http.base_url))
        said = BYTES | {"Upload-Offset": str(offset), "Content-Length": str(claimed), "Host": "x"} | headers
        said["Authorization"] = f"Bearer {self.key}"
        head = f"PATCH {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in said.items()) + "\r\n"
        assert where.hostname is not None
        with socket.create_connection((where.hostname, where.port or 80)) as line:
            line.sendall(head.encode() + data)
            time.sleep(wait_s)

    def record(self, path: str) -> dict:
        """What the JSON says."""
        return self.http.get(path).raise_for_status().json()

    def upload(self, data: bytes) -> dict:
        """All of it at once."""
        path = self.create(len(data))
        assert self.patch(path, 0, data).status_code == 204
        return self.record(path)


def until(true: Callable[[], object], within_s: float = 10.0) -> None:
    """Wait for something that happens elsewhere."""
    ends = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.02)


@dataclass
class Api:
    """Two tenants' clients, and what is behind them."""

    a: Tus
    b: Tus
    url: str
    store: Store
    objects: Path

    def sql(self, query: str, **values) -> list:
        """Run a statement as the server itself; its rows."""

        async def run() -> list:
            database = Database(self.url, pool_size=1)
            try:
                async with database.write("clean.expired", SYSTEM) as session:
                    result = await execute(session, text(query), **values)
                    return list(result.all()) if result.returns_rows else []
            finally:
                await database.close()

        return asyncio.run(run())

    @property
    def blobs(self) -> Blobs:
        """Its objects, as they are kept."""
        return Blobs(self.store)

    def files(self) -> list[str]:
        """Keys of all objects, also of those that are not finished; but for what says whose the store is."""
        there = self.blobs.keys()
        return [key for key in there if key != OWNER]


async def prepared(url: str) -> dict[str, str]:
    """Make tenants `a` and `b`; a key of each."""
    database = Database(url, pool_size=1)
    keys = {tenant: opaque.new_key() for tenant in "ab"}
    async with database.write("tenant.create", SYSTEM) as session:
        session.add_all(Tenant(id=tenant, name=tenant) for tenant in keys)
        await session.flush()
        for tenant, key in keys.items():
            digest = opaque.digest(SECRET, key)
            row = ApiKey(id=f"key_{tenant}", tenant_id=tenant, name="x", hint="x", digest=digest, scopes=sorted(SCOPES))
            session.add(row)
    await database.close()
    return keys


@contextmanager
def serving(url: str, objects: Path, options: UploadOptions = OPTIONS) -> Iterator[str]:
    """The API in a thread; its address."""
    app = create_app(Database(url), store_at(objects), settings_with(options), SECRET)
    running = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=running.run)
    thread.start()
    until(lambda: running.started)
    try:
        yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join()


@contextmanager
def clients(address: str, keys: dict[str, str]) -> Iterator[list[Tus]]:
    """One per key; without certificates, which nothing here has and which take 40 ms to load."""
    made = [
        Tus(httpx.Client(base_url=address, timeout=30, headers={"Authorization": f"Bearer {key}"}, verify=False), key)
        for key in keys.values()
    ]
    try:
        yield made
    finally:
        for one in made:
            one.http.close()


@contextmanager
def made(url: str, objects: Path) -> Iterator[Api]:
    """The API, with nothing in it."""
    keys = asyncio.run(prepared(url))
    with serving(url, objects) as address, clients(address, keys) as (a, b):
        yield Api(a, b, url, store_at(objects), objects)


@pytest.fixture
def api(url, tmp_path) -> Iterator[Api]:
    """The API, with nothing in it."""
    with made(url, tmp_path / "objects") as api:
        yield api


@pytest.fixture(scope="module")
def shared(server, tmp_path_factory) -> Iterator[Api]:
    """An API for all tests of a module that look at answers, and of whose requests no object may be left."""
    folder = tmp_path_factory.mktemp("shared")
    embedded.copied(server, name := folder.name)
    with made(embedded.named(server, name), folder) as api:
        yield api


@pytest.fixture(scope="session")
def film(tmp_path_factory) -> bytes:
    """A real video, of some tens of kilobytes."""
    file = tmp_path_factory.mktemp("film") / "film.mp4"
    write_video(file, moments(60), fps=12, encoding=Encoding(gop=2, options={"preset": "veryfast", "crf": "2"}))
    return file.read_bytes()
