"""Processes of a server that are killed, forked from one that has everything imported.

    SECRETS=MASTER_KEY:SECRET python -m tests.serving.storage.canary_processes URL FOLDER

Reads a line for each process that is wanted, `worker SECONDS` (which it takes over each chain of Clips) or `api PORT`,
and prints its process id. All that they log goes to stderr.
"""

import asyncio
import dataclasses
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
import uvicorn

from models import catalog
from pipeline.clips import Clip
from pipeline.engine import Engine
from pipeline.frames import ClipOutput
from pipeline.sandbox.client import Sandbox
from pipeline.toolkit import Toolkit
from serving import dumps
from serving.api.app import create_app
from serving.db.database import Database
from serving.egress import Egress
from serving.fetching.fetcher import Fetcher
from serving.fetching.requests import FETCH_CHANNEL
from serving.jobs import progress
from serving.jobs.events import WORK_CHANNEL
from serving.jobs.listening import Listener
from serving.jobs.queue import Queue
from serving.jobs.running import Tools
from serving.local import local_toolkit
from serving.settings import DEFAULTS
from serving.storage.keyring import Keyring
from serving.storage.master import LocalMaster
from serving.storage.store import Store
from serving.worker import Worker
from tests.serving.webhooks.receiver import LOOPBACK

LEASE_S = 1.0


class Slow:
    """An engine that leaves time to be killed in: Clips that come at once are done one after the other."""

    def __init__(self, engine: Engine, wait_s: float) -> None:
        self._engine, self._wait_s, self._turn = engine, wait_s, asyncio.Lock()

    async def run(self, clip: Clip) -> ClipOutput:
        """See `Engine.run`."""
        if self._wait_s:
            async with self._turn:
                await asyncio.sleep(self._wait_s)
        return await self._engine.run(clip)

    async def check(self) -> None:
        """See `Engine.check`."""
        await self._engine.check()


class One:
    """Toolkits that are one."""

    def __init__(self, toolkit: Toolkit) -> None:
        self._toolkit = toolkit

    async def get(self, model: str, also: Sequence[str] = ()) -> Toolkit:
        """See `Toolkits.get`."""
        return self._toolkit


def store_in(folder: Path, master_key: bytes) -> Store:
    """The objects of a server in a folder."""
    return Store(folder / "objects", Keyring(LocalMaster([master_key])))


async def here(host: str, port: int) -> list[str]:
    """Finds every name on this machine."""
    return ["127.0.0.1"]


async def work(url: str, store: Store, loaded, wait_s: float) -> None:
    """Claim and run jobs, and fetch, until the process ends."""
    progress.EVERY_S = 0.05
    database = Database(url, pool_size=8)
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(DEFAULTS.worker))
        made = stack.enter_context(local_toolkit("bundled", sandbox, decoder="pyav", load=lambda _: loaded))
        toolkit = dataclasses.replace(made, engine=Slow(made.engine, wait_s))
        async with Listener(url, (WORK_CHANNEL, FETCH_CHANNEL)) as listener:
            tools = Tools(Queue(database, store.keyring, lease_s=LEASE_S), store, One(toolkit))
            egress = Egress(allowed=LOOPBACK, resolve=here)
            fetcher = Fetcher(database, store, DEFAULTS.upload, egress, listener=listener, lease_s=LEASE_S)
            forever = asyncio.Event()
            await asyncio.gather(Worker(tools, slots=2, listener=listener).serve(forever), fetcher.serve(forever))


async def answer(url: str, store: Store, secret: bytes, port: int) -> None:
    """Serve the API until the process ends."""
    app = create_app(Database(url), store, DEFAULTS, secret)
    await uvicorn.Server(uvicorn.Config(app, port=port, access_log=False, log_config=None)).serve()


def main() -> None:
    """Serve until stdin ends."""
    url, folder = sys.argv[1], Path(sys.argv[2])
    master_key, secret = map(bytes.fromhex, os.environ.pop("SECRETS").split(":"))
    logging.basicConfig(level=logging.DEBUG)
    dumps.forbid()
    torch.set_num_threads(1)
    loaded = catalog.load("bundled")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        kind, argument = line.split()
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # Torch makes its pool of threads anew in a fork. Of two threads that are the first to ask for it at the
            # same moment, one finds none, and all that it is given to do fails from then on.
            torch.set_num_threads(1)
            store = store_in(folder, master_key)
            try:
                if kind == "api":
                    asyncio.run(answer(url, store, secret, int(argument)))
                else:
                    asyncio.run(work(url, store, loaded, float(argument)))
            except Exception:  # noqa: BLE001 - the fork may not go on as its parent, whatever happened
                traceback.print_exc()
            finally:
                os._exit(1)
        print(child, flush=True)


if __name__ == "__main__":
    main()
