"""Reaches a database before anything else is done with it: when everything is started together, it is often the last
that is there."""

import asyncio
import sys
import time
from typing import Final

from sqlalchemy.exc import DBAPIError

from serving.db.database import Database
from serving.errors import DatabaseMisconfigured, DatabaseUnavailable

#: How long a server that is started waits for its database, seconds.
PATIENCE_S: Final = 60.0

#: How often it looks, seconds.
AGAIN_S: Final = 0.5

#: SQLSTATE classes that say "not you" and "no such database": waiting does not help.
_REFUSED: Final = ("28", "3D")


async def reached(url: str, patience_s: float = 0.0) -> None:
    """Until the database answers, for so many seconds at most; a line on stderr says that it is waited for.

    Raises:
        DatabaseUnavailable: it does not.
        DatabaseMisconfigured: as `Database.check`, or it does not let us in.
    """
    database = Database(url, pool_size=1)
    until = time.monotonic() + patience_s
    told = False
    try:
        while True:
            try:
                await database.check()
                return
            except DatabaseUnavailable as error:
                if time.monotonic() >= until:
                    raise
                if not told:
                    told = True
                    print(f"waiting   {error}; for {patience_s:g} s at most", file=sys.stderr, flush=True)
            except DBAPIError as error:
                if not (getattr(error.orig, "sqlstate", None) or "").startswith(_REFUSED):
                    raise
                raise DatabaseMisconfigured(f"the database does not let this server in: {error.orig}") from error
            await asyncio.sleep(AGAIN_S)
    finally:
        await database.close()
