"""A finder that can be made to die at any durable write.

    python -m tests.serving.copies.dying URL

Reads lines `DATABASE POINT` from stdin, forks for each, and prints how the fork ended. One ends by itself once nothing
is due. What takes long to import is imported once.
"""

import asyncio
import os
import sys
import traceback

from serving.copies import finder
from serving.copies.finder import Finder
from serving.db import failpoints
from serving.db.database import Database
from serving.db.embedded import named
from tests.serving.copies.conftest import left

#: So short that a dead finder's video is another's within a test.
LEASE_S = 0.3

_find = finder.find


async def _slowly(*arguments):
    """Takes its time, so that there is a lease to renew."""
    await asyncio.sleep(0.12)
    return await _find(*arguments)


async def work(url: str) -> None:
    """Look until there is nothing left."""
    database = Database(url, pool_size=4)
    stop = asyncio.Event()
    serving = asyncio.create_task(Finder(database, lease_s=LEASE_S).serve(stop))
    try:
        while await left(database):
            await asyncio.sleep(0.02)
        stop.set()
        await serving
    finally:
        await database.close()


def main() -> None:
    """Work until stdin ends."""
    server = sys.argv[1]
    for line in sys.stdin:
        name, _, point = line.strip().partition(" ")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                finder.find = _slowly
                if point:
                    os.environ[failpoints.VARIABLE] = point
                asyncio.run(work(named(server, name)))
                code = 0
            except Exception:  # noqa: BLE001 - the fork may not go on as its parent, whatever happened
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
