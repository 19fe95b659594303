"""Servers that are saved and brought back: the API, and the commands over the same database and folder."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from serving.db.database import Database
from serving.storage.store import Store
from tests.serving.api.conftest import SECRET, served
from tests.serving.commands import here
from tests.serving.jobs.conftest import World
from tests.serving.sealing import MASTER_KEY, store_at


@dataclass
class Server:
    """As `tests.serving.api.conftest.Api` for one tenant, with commands."""

    world: World
    a: httpx.AsyncClient
    store: Store
    settings: dict[str, str]

    async def automations(self, *args: object, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run the command, beside the API."""
        return await asyncio.to_thread(here, *args, **self.settings | settings)


def settings_of(url: str, folder: Path) -> dict[str, str]:
    """Of a server with this database and folder."""
    return {
        "AUTOMATIONS_SERVER__DATABASE_URL": url,
        "AUTOMATIONS_SERVER__DATA_DIR": str(folder),
        "AUTOMATIONS_STORAGE__MASTER_KEY": MASTER_KEY.hex(),
    }


def with_secret(folder: Path) -> Path:
    """A data folder whose keys are those of tests."""
    folder.mkdir(exist_ok=True)
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_bytes(SECRET)
    return folder


@asynccontextmanager
async def running(url: str, folder: Path, key: str) -> AsyncIterator[Server]:
    """A server over a database that has tenants. `key`: of tenant `a`."""
    database = Database(url)
    store = store_at(folder / "objects")
    try:
        async with (
            served(url, store) as address,
            httpx.AsyncClient(
                base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=60, verify=False
            ) as client,
        ):
            yield Server(World(database), client, store, settings_of(url, folder))
    finally:
        await database.close()
