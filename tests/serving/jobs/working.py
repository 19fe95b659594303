"""Workers and API processes that are forked from one that has everything imported.

    python -m tests.serving.jobs.working URL FOLDER LEASE_S

Reads a line for each process that is wanted, `worker` or `api PORT`, and prints its process id. Nothing runs before the
fork.
"""

import asyncio
import os
import signal
import sys
import traceback
from pathlib import Path

import uvicorn

from serving.api.app import create_app
from serving.db.database import Database
from serving.errors import LeaseLost
from serving.jobs import outcomes, progress, queue
from serving.jobs.events import WORK_CHANNEL
from serving.jobs.lease import Lease
from serving.jobs.listening import Listener
from serving.jobs.queue import Queue
from serving.jobs.running import Tools
from serving.settings import DEFAULTS
from serving.worker import Worker
from tests.serving.jobs.crashing import OneToolkit, loaded
from tests.serving.sealing import keyring, store_at

#: What the API recognises keys by.
SECRET = b"chaos".ljust(32, b".")

REFUSED = "refused"
"""File in the folder with a line for each write that came too late."""


class TellingQueue(Queue):
    """Also writes down which leases could not be renewed."""

    def __init__(self, database: Database, *, lease_s: float, refused: Path) -> None:
        super().__init__(database, keyring(), lease_s=lease_s)
        self._refused = refused

    async def renew(self, lease: Lease) -> bool:
        """See `Queue.renew`."""
        try:
            return await super().renew(lease)
        except LeaseLost:
            note(self._refused, lease)
            raise


def telling_hold(refused: Path):
    """`queue.hold`, which also writes down whom it refuses."""
    hold = queue.hold

    async def telling(session, lease: Lease) -> bool:
        try:
            return await hold(session, lease)
        except LeaseLost:
            note(refused, lease)
            raise

    return telling


def note(refused: Path, lease: Lease) -> None:
    """One more line."""
    with refused.open("a") as out:
        out.write(f"{os.getpid()} {lease.job_id} {lease.fence}\n")


async def work(url: str, folder: Path, lease_s: float, encoder) -> None:
    """Claim and run jobs until the process ends."""
    progress.EVERY_S = 0.05
    queue.hold = outcomes.hold = telling_hold(folder / REFUSED)
    database = Database(url, pool_size=6)
    async with Listener(url, (WORK_CHANNEL,)) as listener:
        tools = Tools(
            TellingQueue(database, lease_s=lease_s, refused=folder / REFUSED),
            store_at(folder / "objects"),
            OneToolkit(encoder),
        )
        worker = Worker(tools, slots=2, listener=listener)
        # So that who kills it knows whose jobs it has.
        worker.name += f"_{os.getpid()}"
        await worker.serve(asyncio.Event())


async def answer(url: str, folder: Path, port: int) -> None:
    """Serve the API until the process ends."""
    app = create_app(Database(url), store_at(folder / "objects"), DEFAULTS, SECRET)
    await uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical", access_log=False)).serve()


def main() -> None:
    """Serve until stdin ends."""
    url, folder, lease_s = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    encoder = loaded()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        kind, *arguments = line.split()
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                if kind == "api":
                    asyncio.run(answer(url, folder, int(arguments[0])))
                else:
                    asyncio.run(work(url, folder, lease_s, encoder))
            except Exception:  # noqa: BLE001 - the fork may not go on as its parent, whatever happened
                traceback.print_exc()
            finally:
                os._exit(1)
        print(child, flush=True)


if __name__ == "__main__":
    main()
