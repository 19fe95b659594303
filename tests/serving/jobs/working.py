"""Workers that are forked from a process with everything imported.

    python -m tests.serving.jobs.working URL FOLDER LEASE_S

Reads a line for each worker that is wanted and prints its process id. Nothing runs before the fork.
"""

import asyncio
import os
import signal
import sys
import traceback
from pathlib import Path

from serving.db.database import Database
from serving.jobs import progress
from serving.jobs.events import WORK_CHANNEL
from serving.jobs.listening import Listener
from serving.jobs.queue import Queue
from serving.jobs.running import Tools
from serving.storage.store import Store
from serving.worker import Worker
from tests.serving.jobs.crashing import OneToolkit, loaded


async def work(url: str, folder: Path, lease_s: float, encoder) -> None:
    """Claim and run jobs until the process ends."""
    progress.EVERY_S = 0.05
    database = Database(url, pool_size=6)
    async with Listener(url, (WORK_CHANNEL,)) as listener:
        tools = Tools(Queue(database, lease_s=lease_s), Store(folder / "objects"), OneToolkit(encoder))
        worker = Worker(tools, slots=2, listener=listener)
        # So that who kills it knows whose jobs it has.
        worker.name += f"_{os.getpid()}"
        await worker.serve(asyncio.Event())


def main() -> None:
    """Serve until stdin ends."""
    url, folder, lease_s = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    encoder = loaded()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                asyncio.run(work(url, folder, lease_s, encoder))
            except Exception:  # noqa: BLE001 - the fork may not go on as its parent, whatever happened
                traceback.print_exc()
            finally:
                os._exit(1)
        print(child, flush=True)


if __name__ == "__main__":
    main()
