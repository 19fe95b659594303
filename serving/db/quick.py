"""Reading rows by their keys, ten times as cheaply as through the ORM: no session, and few round trips.

Reads of a tenant that are asked for while others are under way go together, in one statement: of many callers at once
each pays for a share of a round trip only, and who is alone waits for nobody. The database sets the tenant and reads
the rows in one function (migration 0010), so that row-level security holds here as it does everywhere.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Final, Literal

from serving.db.pool import Line
from serving.errors import DatabaseUnavailable

Function = Literal["tenant_jobs", "tenant_videos", "tenant_media"]
"""Functions (tenant, ids) -> the rows that there are, with all their columns; of media, see migration 0018."""

#: Rows that one statement reads at most.
_TOGETHER: Final = 64

_Asked = asyncio.Future[SimpleNamespace | None]


class QuickReads:
    """Such reads, over one connection: with more, each statement would read fewer rows."""

    def __init__(self, url: str) -> None:
        """`url`: as `Database` has it."""
        self._line = Line(url)
        self._wanted: dict[tuple[Function, str], dict[str, list[_Asked]]] = {}
        """Function and tenant -> id -> those who want it."""
        self._reading = False
        self._lane: asyncio.Task[None] | None = None

    async def row(self, function: Function, tenant: str, name: str) -> SimpleNamespace | None:
        """The row of a tenant under this id, by column, JSON as text (`documents`); None where there is none, as under
        what no text of PostgreSQL can be.

        Raises:
            DatabaseUnavailable: it cannot be reached now.
        """
        if not (_is_text(tenant) and _is_text(name)):
            # Those who ask at the same time would be told the same as who asks this.
            return None
        asked: _Asked = asyncio.get_running_loop().create_future()
        self._wanted.setdefault((function, tenant), {}).setdefault(name, []).append(asked)
        if not self._reading:
            self._reading = True
            self._lane = asyncio.create_task(self._read())
        return await asked

    async def close(self) -> None:
        """Close the connection."""
        if self._lane is not None:
            self._lane.cancel()
            await asyncio.gather(self._lane, return_exceptions=True)
        self._give_up(DatabaseUnavailable("the server stops"), {})
        await self._line.close()

    async def _read(self) -> None:
        """Read what is wanted, those who came first before others, until nothing is."""
        try:
            while self._wanted:
                # Whoever's request is there by now comes along: a turn of the loop costs a tenth of a statement.
                await asyncio.sleep(0)
                (function, tenant), wanted = next(iter(self._wanted.items()))
                del self._wanted[function, tenant]
                names = list(wanted)
                batches = deque(names[first : first + _TOGETHER] for first in range(0, len(names), _TOGETHER))
                while batches:
                    some = batches.popleft()
                    rows = await self._rows(function, tenant, some)
                    if isinstance(rows, DatabaseUnavailable):
                        # Nor would the others be told anything else, only later.
                        rest = [name for batch in (some, *batches) for name in batch]
                        self._give_up(rows, {name: wanted[name] for name in rest})
                        break
                    if isinstance(rows, Exception) and len(some) > 1:
                        # It may be about one of them only.
                        batches.extendleft([name] for name in reversed(some))
                        continue
                    _settle(rows, {name: wanted[name] for name in some})
        finally:
            # At once, not when the task is seen to be done: whoever comes in between would wait for ever.
            self._reading = False

    def _give_up(self, error: Exception, rest: Mapping[str, list[_Asked]]) -> None:
        """Tell these, and all who wait, that there is nothing."""
        waiting, self._wanted = self._wanted, {}
        for wanted in (rest, *waiting.values()):
            _settle(error, wanted)

    async def _rows(
        self, function: Function, tenant: str, names: Sequence[str]
    ) -> "dict[str, SimpleNamespace] | Exception":
        """Those rows that there are, or why there is none: which is for those who asked, not for this task."""
        try:
            found = await self._line.rows(f"SELECT * FROM {function}($1, $2)", tenant, names)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may be left waiting
            return error
        return {row["id"]: SimpleNamespace(**row) for row in found}


def _is_text(name: str) -> bool:
    """Whether PostgreSQL takes it for one: anything but zero characters and halves of pairs."""
    return "\0" not in name and (name.isascii() or name.encode(errors="replace").decode() == name)


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
