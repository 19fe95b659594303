"""Connections for single statements that have to be cheap: one round trip, no session, no transaction of their own."""

import asyncio
import contextlib
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

#: How long a connection has to be closed in order, seconds.
_CLOSE_S = 2.0


class Line:
    """One connection, opened with its first statement, and anew after it broke. Statements come one after another."""

    def __init__(self, url: str) -> None:
        """`url`: as `Database` has it."""
        self._url = url
        self._connection: asyncpg.Connection | None = None

    async def rows(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        """All rows of a statement that leaves nothing behind in its connection. A pool's would cost twice as much.

        Raises:
            DatabaseUnavailable: it cannot be reached now.
        """
        try:
            connection = self._connection
            if connection is None or connection.is_closed():
                connection = self._connection = await asyncpg.connect(self._url, timeout=10)
            return await connection.fetch(statement, *values, timeout=10)
        except _AWAY as error:
            self._drop()
            raise DatabaseUnavailable(f"the database cannot be reached ({type(error).__name__})") from error

    async def close(self) -> None:
        """Close it; of a database that does not answer, without its consent."""
        if self._connection is not None and not self._connection.is_closed():
            with contextlib.suppress(TimeoutError):
                await self._connection.close(timeout=_CLOSE_S)

    def _drop(self) -> None:
        """Whatever state it is in, the next statement has a new one."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


class Pool:
    """A pool of connections, opened with its first statement."""

    def __init__(self, url: str, *, size: int) -> None:
        """`url`: as `Database` has it; `size`: connections at most."""
        self._url, self._size = url, size
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()

    async def row(self, statement: str, *values: Any) -> asyncpg.Record | None:
        """The first row of a statement that leaves nothing behind in its connection; None where there is none.

        Raises:
            DatabaseUnavailable: it cannot be reached now.
        """
        try:
            pool = self._pool or await self._open()
            return await pool.fetchrow(statement, *values, timeout=10)
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
                    self._url, min_size=1, max_size=self._size, reset=_nothing, timeout=10
                )
        return self._pool


async def _nothing(_: asyncpg.Connection) -> None:
    """What a connection is reset by: its only statements leave nothing behind."""
