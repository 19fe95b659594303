"""A deliverer in a process that can be made to die: python -m tests.serving.webhooks.dying URL

Ends by itself once nothing is pending.
"""

import asyncio
import sys

from sqlalchemy import text

from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.egress import Egress
from serving.webhooks.delivery import Deliverer
from tests.serving.sealing import keyring
from tests.serving.webhooks.receiver import LOOPBACK


async def main() -> None:
    """Deliver until there is nothing left."""
    database = Database(sys.argv[1], pool_size=4)
    stop = asyncio.Event()
    serving = asyncio.create_task(Deliverer(database, keyring(), Egress(allowed=LOOPBACK), lease_s=1.0).serve(stop))
    left = 1
    while left:
        await asyncio.sleep(0.05)
        async with database.read(SYSTEM) as session:
            query = text("SELECT count(*) FROM webhook_delivery WHERE state = 'pending'")
            left = (await execute(session, query)).scalar_one()
    stop.set()
    await serving
    await database.close()


if __name__ == "__main__":
    asyncio.run(main())
