"""Reading one row by its key, ten times as cheaply as through the ORM: one round trip, no session.

The tenant is set and the row read by one function in the database (migration 0004), so that row-level security holds
here as it does everywhere. Measured on 2 cores: 0.15 ms of CPU time a read instead of 1.5 ms.
"""

import asyncio
from types import SimpleNamespace
from typing import Any, Literal

import asyncpg
import msgspec

from serving.errors import DatabaseUnavailable

Function = Literal["tenant_job", "tenant_video"]
"""Functions (tenant, id) -> the row, of all its columns."""

#: What says that the database is away.
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)


class QuickReads:
    """A pool of connections for such reads; opened with the first one."""

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        """`url`: as `Database` has it."""
        self._url, self._pool_size = url, pool_size
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()

    async def row(self, function: Function, tenant: str, name: str) -> SimpleNamespace | None:
        """The row of a tenant under this id, by column; None where there is none.

        Raises:
            DatabaseUnavailable: it cannot be reached now.
        """
        try:
            pool = self._pool or await self._open()
            found = await pool.fetchrow(f"SELECT * FROM {function}($1, $2)", tenant, name, timeout=10)
        except _AWAY as error:
            raise DatabaseUnavailable(f"the database cannot be reached ({type(error).__name__})") from error
        return None if found is None else SimpleNamespace(**found)

    async def close(self) -> None:
        """Close all connections."""
        if self._pool is not None:
            await self._pool.close()

    async def _open(self) -> asyncpg.Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url, min_size=1, max_size=self._pool_size, init=_with_json, reset=_nothing, timeout=10
                )
        return self._pool


async def _with_json(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=_no_json, decoder=msgspec.json.decode)


def _no_json(value: Any) -> str:
    raise TypeError(f"nothing is written here, {value!r:.100} neither")


async def _nothing(_: asyncpg.Connection) -> None:
    """What a connection is reset by: its only statements leave nothing behind."""
