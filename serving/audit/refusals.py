"""Refusals, noted about once a second: alike ones together, so that a flood of them is a few rows with large counts.

What is bounded: how many different ones are remembered, and how many rows are written in the long run, for callers who
are known and for all others apart, so that strangers do not crowd out what is worth knowing. What there is no room
for in memory is dropped, and counted. What is not written yet waits and goes on counting; a process that dies hard
loses it.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from serving.audit.recording import Entry, add
from serving.db.database import SYSTEM, Database
from serving.errors import ServerError

_LOG = logging.getLogger(__name__)

#: How often they are written, seconds.
EVERY_S: Final = 1.0

#: Different ones that are remembered at most, of those who are known and of the others each.
MAX_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is alike."""

    operation: str
    code: str
    """Of the problem."""
    address: str
    tenant_id: str | None = None
    actor: str | None = None
    credential: str | None = None


@dataclass(slots=True)
class _Kept:
    """Those of one kind of caller, and how many rows may be written for them."""

    rows_per_s: float
    most_rows: float
    rows: float
    counts: dict[Refusal, int] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)

    def due(self) -> dict[Refusal, int]:
        """What is to be written now, the oldest first; it is forgotten here."""
        now = time.monotonic()
        self.rows = min(self.most_rows, self.rows + (now - self.since) * self.rows_per_s)
        self.since = now
        chosen = list(self.counts)[: int(self.rows)]
        self.rows -= len(chosen)
        return {refusal: self.counts.pop(refusal) for refusal in chosen}

    def back(self, due: dict[Refusal, int]) -> None:
        """Take back what could not be written."""
        self.rows += len(due)
        for refusal, count in due.items():
            self.counts[refusal] = self.counts.get(refusal, 0) + count


class Refusals:
    """Collects refusals and writes them down."""

    def __init__(self, database: Database, dropped: Callable[[], object]) -> None:
        """`dropped`: called for each that there was no room for."""
        self._database, self._dropped = database, dropped
        self._failing = False
        # 86,400 rows a day and process for strangers, whatever they do.
        self._strangers = _Kept(rows_per_s=1.0, most_rows=200.0, rows=200.0)
        self._known = _Kept(rows_per_s=20.0, most_rows=2000.0, rows=2000.0)

    def add(self, refusal: Refusal) -> None:
        """Remember one."""
        counts = (self._strangers if refusal.actor is None else self._known).counts
        if refusal not in counts and len(counts) >= MAX_REMEMBERED:
            self._dropped()
            return
        counts[refusal] = counts.get(refusal, 0) + 1

    async def run(self) -> None:
        """Write them down, again and again, until canceled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.write()

    async def write(self) -> None:
        """Write down what is due. What could not be written, for whatever reason, stays due, and the log says so once:
        nothing that goes wrong here ends it, or the refusals after it."""
        for kept in (self._known, self._strangers):
            due = kept.due()
            if not due:
                continue
            try:
                async with self._database.write("audit.refusals", SYSTEM) as session:
                    await add(session, [_entry(*one) for one in due.items()])
            except Exception as error:  # noqa: BLE001 - whatever it is, those who come later are to be noted, too
                kept.back(due)
                self._say(error)
            except BaseException:
                # Canceled: whoever writes next has it. Where it was about to be committed it may then be there twice.
                kept.back(due)
                raise
            else:
                self._failing = False

    def _say(self, error: Exception) -> None:
        if not self._failing:
            unexpected = None if isinstance(error, ServerError) else error
            _LOG.warning("refusals are not in the audit log yet: %s", type(error).__name__, exc_info=unexpected)
        self._failing = True


def _entry(refusal: Refusal, count: int) -> Entry:
    return Entry(
        kind="refusal",
        operation=refusal.operation,
        tenant_id=refusal.tenant_id,
        actor=refusal.actor,
        credential=refusal.credential,
        address=refusal.address,
        code=refusal.code,
        count=min(count, 2**31 - 1),
    )
