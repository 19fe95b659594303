"""Reads of media, noted before their first byte goes out, and what is handed out to read it with: alike ones together,
so that a player's thousand requests are two lines and not a thousand.

The first one of its kind is committed before it is answered. Those that are alike, within the ten minutes after it, are
counted, and noted as one more line at their end; a process that dies hard loses that count, but never that it was read.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, Literal

from serving.audit.acting import ACTING, MAX_TARGETS, Acting
from serving.audit.recording import Entry, add
from serving.db.database import SYSTEM, Database

#: For how long reads that are alike are counted before there is a line about them, seconds.
TOGETHER_S: Final = 600.0

#: Different ones that are remembered at most; beyond it, the oldest is noted early.
MAX_REMEMBERED: Final = 10_000

#: First ones that are noted in one transaction.
_AT_ONCE: Final = 500

#: Answers that have bytes of media in them.
_READS: Final = frozenset({200, 206})

#: What an operation says that serves media: `@get(..., media=True)`.
MEDIA: Final = "media"


@dataclass(slots=True)
class _Counted:
    """Reads that are alike."""

    entry: Entry
    """The first of them."""
    noted: asyncio.Future[None]
    """Done when that is in the log."""
    since: float = 0.0
    """When it was."""
    count: int = 0
    """Those after it."""


class Reads:
    """Notes reads, of one process."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds."""
        self._database, self._clock = database, clock
        self._counted: OrderedDict[Entry, _Counted] = OrderedDict()
        self._waiting: dict[Entry, _Counted] = {}
        self._writing: dict[Entry, _Counted] = {}
        self._lane: asyncio.Task[None] | None = None
        self._over: list[_Counted] = []

    async def answering(self, status: int) -> None:
        """Whoever acts is about to be answered with a status, by an operation that serves media: note it, where there
        is any in the answer.

        Raises:
            DatabaseUnavailable: it could not be noted; then nothing is to be answered.
            AuditKeyMissing, MasterKeyMissing, Altered: see `AuditSigner.key`.
        """
        acting = ACTING.get()
        if status in _READS and acting is not None:
            await self.note(acting)

    async def note(self, acting: Acting) -> None:
        """Note a read by somebody of what their request names. Raises as `answering`."""
        await self._note(acting, _alike(acting, "read", acting.named))

    async def granted(self, about: Sequence[str], purposes: Sequence[str], lifetime_s: int) -> None:
        """Whoever acts is about to be given what opens something without a key: a signed URL, a ticket. Raises as
        `answering`.

        Args:
            about: ids of what it opens.
            purposes: what it is good for, and for
            lifetime_s: how long.
        """
        acting = ACTING.get()
        if acting is not None:
            await self._note(acting, _alike(acting, "grant", (*about, *purposes, f"{lifetime_s}s")))

    async def _note(self, acting: Acting, alike: Entry) -> None:
        known = self._counted.get(alike)
        if known is not None and self._clock() - known.since < TOGETHER_S:
            known.count += 1
            return
        first = self._waiting.get(alike) or self._writing.get(alike)
        if first is not None:
            # Somebody has just begun with it. Who goes away takes nobody along.
            await asyncio.shield(first.noted)
            first.count += 1
            return
        first = _Counted(replace(alike, request_id=acting.request_id), asyncio.get_running_loop().create_future())
        self._waiting[alike] = first
        if self._lane is None or self._lane.done():
            self._lane = asyncio.create_task(self._write_first())
        await asyncio.shield(first.noted)

    async def write(self, *, all: bool = False) -> None:
        """Write down counts whose time is over; `all`: all of them. What cannot be written stays. Raises as
        `answering`."""
        now = self._clock()
        for alike, counted in list(self._counted.items()):
            if not all and now - counted.since < TOGETHER_S:
                break
            self._forget(alike)
        while self._over:
            part = self._over[:_AT_ONCE]
            await self._add([replace(one.entry, request_id=None, count=one.count) for one in part])
            del self._over[: len(part)]

    def _forget(self, alike: Entry) -> None:
        counted = self._counted.pop(alike)
        if counted.count:
            self._over.append(counted)

    async def _write_first(self) -> None:
        """Those who come while others are written go together."""
        while self._waiting:
            self._writing = dict(islice(self._waiting.items(), _AT_ONCE))
            for alike in self._writing:
                del self._waiting[alike]
            try:
                await self._add([first.entry for first in self._writing.values()])
            except BaseException as error:
                for first in self._writing.values():
                    first.noted.set_exception(error)
                    # Whoever waited may have gone.
                    first.noted.exception()
                self._writing = {}
                if not isinstance(error, Exception):
                    raise
            else:
                for alike, first in self._writing.items():
                    self._remember(alike, first)
                self._writing = {}

    def _remember(self, alike: Entry, first: _Counted) -> None:
        if alike in self._counted:
            self._forget(alike)
        first.since = self._clock()
        self._counted[alike] = first
        first.noted.set_result(None)
        while len(self._counted) > MAX_REMEMBERED:
            self._forget(next(iter(self._counted)))

    async def _add(self, entries: list[Entry]) -> None:
        # The transaction is nobody's write.
        acting = ACTING.set(None)
        try:
            if self._database.signer is not None:
                await self._database.signer.key()
            async with self._database.write("audit.reads", SYSTEM) as session:
                await add(session, entries)
        finally:
            ACTING.reset(acting)


def _alike(acting: Acting, kind: Literal["read", "grant"], targets: Sequence[str]) -> Entry:
    return Entry(
        kind=kind,
        operation=acting.operation,
        tenant_id=acting.tenant_id,
        actor=acting.actor,
        credential=acting.credential,
        address=acting.address,
        targets=tuple(targets[:MAX_TARGETS]),
    )
