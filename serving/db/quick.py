"""Reading rows by their keys, ten times as cheaply as through the ORM: no session, and few round trips.

Reads of a tenant that are asked for while others are under way go together, in one statement: of many callers at once
each pays for a share of a round trip only, and who is alone waits for nobody. The database sets the tenant and reads
the rows in one function (migration 0010), so that row-level security holds here as it does everywhere.
"""

import asyncio
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final, Literal

import asyncpg
import msgspec

from serving.db.pool import Pool
from serving.errors import DatabaseUnavailable

Function = Literal["tenant_jobs", "tenant_videos"]
"""Functions (tenant, ids) -> the rows that there are, with all their columns."""

#: Statements that are under way at once, and rows that one reads at most. With more at once, each reads fewer.
_LANES: Final = 1
_TOGETHER: Final = 64

_Asked = asyncio.Future[SimpleNamespace | None]


class QuickReads:
    """Such reads, over a few connections; opened with the first one."""

    def __init__(self, url: str) -> None:
        """`url`: as `Database` has it."""
        self._pool = Pool(url, size=_LANES, prepare=_with_json)
        self._wanted: dict[tuple[Function, str], dict[str, list[_Asked]]] = {}
        """Function and tenant -> id -> those who want it."""
        self._reading = 0
        self._lanes: set[asyncio.Task[None]] = set()

    async def row(self, function: Function, tenant: str, name: str) -> SimpleNamespace | None:
        """The row of a tenant under this id, by column; None where there is none.

        Raises:
            DatabaseUnavailable: it cannot be reached now.
        """
        asked: _Asked = asyncio.get_running_loop().create_future()
        self._wanted.setdefault((function, tenant), {}).setdefault(name, []).append(asked)
        if self._reading < _LANES:
            self._reading += 1
            lane = asyncio.create_task(self._read())
            self._lanes.add(lane)
            lane.add_done_callback(self._lanes.discard)
        return await asked

    async def close(self) -> None:
        """Close all connections."""
        for lane in self._lanes:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        self._give_up(DatabaseUnavailable("the server stops"), {})
        await self._pool.close()

    async def _read(self) -> None:
        """Read what is wanted, those who came first before others, until nothing is."""
        try:
            while self._wanted:
                # Whoever's request is there by now comes along: a turn of the loop costs a tenth of a statement.
                await asyncio.sleep(0)
                (function, tenant), wanted = next(iter(self._wanted.items()))
                del self._wanted[function, tenant]
                names = list(wanted)
                for first in range(0, len(names), _TOGETHER):
                    some = names[first : first + _TOGETHER]
                    rows = await self._rows(function, tenant, some)
                    _settle(rows, {name: wanted[name] for name in some})
                    if isinstance(rows, DatabaseUnavailable):
                        # Nor would the others be told anything else, only later.
                        self._give_up(rows, {name: wanted[name] for name in names[first + len(some) :]})
                        break
        finally:
            # At once, not when the task is seen to be done: whoever comes in between would wait for ever.
            self._reading -= 1

    def _give_up(self, error: Exception, rest: Mapping[str, list[_Asked]]) -> None:
        """Tell these, and all who wait, that there is nothing."""
        waiting, self._wanted = self._wanted, {}
        for wanted in (rest, *waiting.values()):
            _settle(error, wanted)

    async def _rows(
        self, function: Function, tenant: str, names: Sequence[str]
    ) -> "dict[str, SimpleNamespace] | Exception":
        """Those rows that there are, or why there is none: which is for those who asked, not for this lane."""
        try:
            found = await self._pool.rows(f"SELECT * FROM {function}($1, $2)", tenant, names)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may be left waiting
            return error
        return {row["id"]: SimpleNamespace(**row) for row in found}


def _settle(rows: "Mapping[str, SimpleNamespace] | Exception", wanted: Mapping[str, list[_Asked]]) -> None:
    """Tell everybody what came of what they asked for; some have gone away meanwhile."""
    for name, asked in wanted.items():
        for one in asked:
            if one.done():
                continue
            if isinstance(rows, Exception):
                one.set_exception(rows)
            else:
                one.set_result(rows.get(name))


async def _with_json(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=_no_json, decoder=msgspec.json.decode)


def _no_json(value: Any) -> str:
    raise TypeError(f"nothing is written here, {value!r:.100} neither")
