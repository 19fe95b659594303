"""A fetcher that can be made to die at any durable write.

    python -m tests.serving.fetching.dying URL FOLDER

Reads lines `DATABASE POINT` from stdin, forks for each, and prints how the fork ended. One ends by itself once nothing
waits to be fetched. What takes long to import is imported once.
"""

import asyncio
import os
import sys
import traceback
from pathlib import Path

from sqlalchemy import text

from serving.db import failpoints
from serving.db.database import SYSTEM, Database
from serving.db.embedded import named
from serving.db.statements import execute
from serving.egress import Egress
from serving.fetching import claims, fetcher
from serving.fetching.fetcher import Fetcher
from serving.storage.store import Store
from tests.serving.fetching.conftest import OPTIONS, here
from tests.serving.sealing import store_at
from tests.serving.webhooks.receiver import LOOPBACK

#: So short that a dead fetcher's upload is another's within a test.
LEASE_S = 0.3

_LEFT = text("SELECT count(*) FROM upload WHERE status = 'waiting'")


async def fetch(url: str, store: Store) -> None:
    """Fetch until there is nothing left."""
    database = Database(url, pool_size=4)
    stop = asyncio.Event()
    egress = Egress(allowed=LOOPBACK, resolve=here)
    serving = asyncio.create_task(Fetcher(database, store, OPTIONS, egress, lease_s=LEASE_S).serve(stop))
    try:
        left = 1
        while left:
            await asyncio.sleep(0.05)
            async with database.read(SYSTEM) as session:
                left = (await execute(session, _LEFT)).scalar_one()
        stop.set()
        await serving
    finally:
        await database.close()


def main() -> None:
    """Fetch until stdin ends."""
    server, folder = sys.argv[1], Path(sys.argv[2])
    for line in sys.stdin:
        name, _, point = line.strip().partition(" ")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                fetcher.TELL_S = 0.02
                claims.RETRY_AFTER_S = (0.0,) * 5
                if point:
                    os.environ[failpoints.VARIABLE] = point
                asyncio.run(fetch(named(server, name), store_at(folder / name)))
                code = 0
            except Exception:  # noqa: BLE001 - the fork may not go on as its parent, whatever happened
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
