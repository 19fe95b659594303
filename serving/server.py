"""`automations serve`: database, store, API and worker, each in the process that suits it, from one command."""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serving.db.accounts import Tenant
from serving.db.database import SYSTEM, Database
from serving.db.waiting import PATIENCE_S, reached
from serving.errors import SecretRefused
from serving.proxies import proxy_options
from serving.readiness import announce_ready
from serving.settings import Settings
from serving.storage.store import Store

#: Bytes of the secret, at least: as many as the digests have that it keys.
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is."""

    folder: Path
    database_url: str
    secret: bytes
    """What credentials are recognised by."""

    @property
    def store(self) -> Store:
        """The object store."""
        return Store(self.folder / "objects")


@contextlib.contextmanager
def places(settings: Settings, *, migrated: bool = True, waiting: bool = False) -> Iterator[Places]:
    """Everything that is needed, made where it is missing; an embedded database runs as long as the block lasts.
    `migrated`: whether to bring its schema up to date; `waiting`: whether to wait a minute for a database that
    does not answer yet.

    Raises:
        DatabaseUnavailable, DatabaseMisconfigured: see `waiting.reached`.
    """
    folder = Path(settings.server.data_dir).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    # Other users of the machine have no business in other people's videos.
    objects = folder / "objects"
    objects.mkdir(exist_ok=True)
    objects.chmod(0o700)
    with contextlib.ExitStack() as stack:
        url = settings.server.database_url
        # What is loaded here is what the API alone would start half a second later for.
        if not url:
            from serving.db import embedded

            url = stack.enter_context(embedded.embedded(folder / "postgres"))
        asyncio.run(reached(url, PATIENCE_S if waiting else 0.0))
        if migrated:
            from serving.db import migrate

            migrate.upgrade(url)
        yield Places(folder, url, _secret(folder / "secret"))


def _secret(file: Path) -> bytes:
    """Read from a file that only its owner may read; made once, whole or not at all, whoever else makes it just now.

    Raises:
        SecretRefused: it is too short, or others may read it.
    """
    if not file.exists():
        descriptor, made = tempfile.mkstemp(dir=file.parent, prefix="secret-")
        try:
            with os.fdopen(descriptor, "wb") as out:
                out.write(secrets.token_bytes(_SECRET_BYTES))
                out.flush()
                os.fsync(descriptor)
            with contextlib.suppress(FileExistsError):
                os.link(made, file)
        finally:
            os.unlink(made)
    if file.stat().st_mode & 0o077:
        raise SecretRefused(f"{file}: others may read what all keys and tokens rest on; chmod 600 {file}")
    secret = file.read_bytes()
    if len(secret) < _SECRET_BYTES:
        raise SecretRefused(
            f"{file}: {len(secret)} bytes, at least {_SECRET_BYTES} are needed; put it back as it was, or delete it "
            "and make all keys anew"
        )
    return secret


def made_first_key(place: Places) -> str | None:
    """A key that may do everything, made with the first tenant; None where there is a tenant already."""
    return asyncio.run(_first_key(place))


def greeting(place: Places, settings: Settings, key: str | None) -> Iterator[str]:
    """What is printed when everything starts: where it is, and a line to try."""
    address = f"http://{settings.server.host}:{settings.server.port}"
    yield f"API       {address}/v1"
    yield f"docs      {address}/docs"
    yield f"data      {place.folder}"
    yield f"database  {'of your own' if settings.server.database_url else 'embedded PostgreSQL in the data folder'}"
    if key is not None:
        yield f"key       {key}  (shown only now; it may do everything)"
    shown = key or "$KEY"
    yield f"\ntry       curl -H 'Authorization: Bearer {shown}' {address}/v1/videos\n"


async def _first_key(place: Places) -> str | None:
    from sqlmodel import select

    from serving.auth import tenants

    database = Database(place.database_url)
    try:
        async with database.write("tenant.create", SYSTEM) as session:
            if (await session.exec(select(Tenant.id).limit(1))).first() is not None:
                return None
            _, key = await tenants.create(session, place.secret, "default")
        return key
    finally:
        await database.close()


def serve_api(place: Places, settings: Settings) -> None:
    """Answer requests until the process is told to end."""
    import uvicorn

    from serving.api.app import create_app

    app = create_app(Database(place.database_url), place.store, settings, place.secret)
    uvicorn.run(
        app,
        host=settings.server.host,
        port=settings.server.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=5,
        server_header=False,
        **proxy_options(settings.server.trusted_proxies),
    )


def serve_worker(place: Places, settings: Settings) -> bool:
    """Work on jobs until the process is told to end; whether all could be ended that has threads. Ten seconds after it
    was told, the process ends itself, whatever hangs."""
    return asyncio.run(_work(place, settings))


def _connections(settings: Settings) -> int:
    """Of a worker, at most: two for each job, some for deliveries and fetches that end at once, and for those who look
    around. Opened when they are needed; PostgreSQL has 100 for all."""
    return min(2 * settings.jobs.slots + 26, 80)


async def _work(place: Places, settings: Settings) -> bool:
    from pipeline.sandbox.client import Sandbox
    from serving import cleaning, ending
    from serving.fetching.fetcher import Fetcher
    from serving.fetching.requests import FETCH_CHANNEL
    from serving.jobs.events import WORK_CHANNEL
    from serving.jobs.listening import Listener
    from serving.jobs.outbox import DELIVERY_CHANNEL
    from serving.jobs.queue import Queue
    from serving.jobs.running import Tools
    from serving.toolkits import LocalToolkits
    from serving.webhooks.delivery import Deliverer
    from serving.worker import Worker
    from serving.workers import Presence

    stop = asyncio.Event()

    def told() -> None:
        stop.set()
        ending.within()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told)
    database = Database(place.database_url, pool_size=_connections(settings))
    with Sandbox(settings.worker) as sandbox:
        toolkits = LocalToolkits(settings, sandbox)
        cleaner = asyncio.create_task(cleaning.run(cleaning.chores(database, place.store, settings)))
        try:
            async with Listener(place.database_url, (WORK_CHANNEL, DELIVERY_CHANNEL, FETCH_CHANNEL)) as listener:
                queue = Queue(database, lease_s=settings.jobs.lease_s)
                tools = Tools(queue, place.store, toolkits, settings.jobs.timeout_s)
                worker = Worker(tools, slots=settings.jobs.slots, listener=listener)
                presence = Presence(
                    database,
                    worker.name,
                    slots=settings.jobs.slots,
                    busy=lambda: worker.busy,
                    models=toolkits.reports,
                    changed=toolkits.changed,
                )
                async with asyncio.TaskGroup() as group:
                    group.create_task(presence.serve(stop))
                    group.create_task(toolkits.serve(stop))
                    group.create_task(worker.serve(stop))
                    group.create_task(Deliverer(database, listener=listener).serve(stop))
                    fetcher = Fetcher(database, place.store, settings.upload, listener=listener)
                    group.create_task(fetcher.serve(stop))
        finally:
            cleaner.cancel()
            await asyncio.gather(cleaner, return_exceptions=True)
            ended = await toolkits.close()
            await database.close()
    return ended


def _own_address(settings: Settings) -> str:
    """Where this machine reaches the API: a server that listens everywhere does so here, too."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.server.host, settings.server.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.server.port}"


def run_all(place: Places, settings: Settings) -> int:
    """API and worker as children; both end with this process, and this one with either of them."""
    import subprocess

    environment = os.environ | {
        "AUTOMATIONS_SERVER__DATABASE_URL": place.database_url,
        "AUTOMATIONS_SERVER__DATA_DIR": str(place.folder),
    }
    children = [
        subprocess.Popen([sys.executable, "-m", "serving.cli", part], env=environment) for part in ("api", "worker")
    ]
    told = threading.Event()
    threading.Thread(target=announce_ready, args=(_own_address(settings), told), daemon=True).start()

    def stop(*_: object) -> None:
        told.set()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        while all(child.poll() is None for child in children):
            with contextlib.suppress(subprocess.TimeoutExpired):
                children[0].wait(timeout=0.5)
        # One that was told to end may say so by the signal; one that ends unasked takes the other with it.
        code = 0 if told.is_set() else max(abs(child.returncode or 0) for child in children)
    finally:
        stop()
        for child in children:
            try:
                child.wait(timeout=15)
            except subprocess.TimeoutExpired:
                child.kill()
    return code
