"""Rotates keys in a process that may be made to die: `FAILPOINT=keys.rotate:after:2 python -m ... URL`."""

import asyncio
import sys

from serving.db.database import Database
from serving.storage import rotating
from serving.storage.keyring import Keyring
from serving.storage.master import LocalMaster

MASTER, AT_ONCE = bytes(range(32)), 5


async def main(url: str) -> None:
    """All of it, few at a time."""
    rotating._AT_ONCE = AT_ONCE
    database = Database(url, pool_size=1)
    await rotating.rotate(database, Keyring(LocalMaster([MASTER])))
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
