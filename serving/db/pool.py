"""Connections for single statements that have to be cheap: one round trip, no session, no transaction of their own."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from serving.errors import DatabaseUnavailable

#: What says that the database is away.
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)


class Pool:
    """A pool of connections, opened with its first statement."""

    def __init__(
        self, url: str, *, size: int, prepare: Callable[[asyncpg.Connection], Awaitable[None]] | None = None
    ) -> None:
        """`url`: as `Database` has it; `size`: connections at most; `prepare`: done to each new connection."""
        self._url, self._size, self._prepare = url, size, prepare
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()

    async def row(self, statement: str, *values: Any) -> asyncpg.Record | None:
        """The first row of a statement that leaves nothing behind in its connection; None where there is none.

        Raises:
            DatabaseUnavailable: it cannot be reached now.
        """
        rows = await self.rows(statement, *values)
        return rows[0] if rows else None

    async def rows(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        """All rows of such a statement. Raises as `row`."""
        try:
            pool = self._pool or await self._open()
            return await pool.fetch(statement, *values, timeout=10)
        except _AWAY as error:
            raise DatabaseUnavailable(f"the database cannot be reached ({type(error).__name__})") from error

    async def close(self) -> None:
        """Close all connections."""
        if self._pool is not None:
            await self._pool.close()

    async def _open(self) -> asyncpg.Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url, min_size=1, max_size=self._size, init=self._prepare, reset=_nothing, timeout=10
                )
        return self._pool


async def _nothing(_: asyncpg.Connection) -> None:
    """What a connection is reset by: its only statements leave nothing behind."""
