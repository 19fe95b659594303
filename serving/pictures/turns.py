"""Who may decode now: a few at once, a few who wait, and no tenant in the way of all others."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from serving.errors import Busy
from serving.pictures.wanted import called

#: How long somebody waits for a turn, seconds.
PATIENCE_S: Final = 20.0

#: When who was turned away may come again, seconds: most pictures take a fraction of that.
_AGAIN_S: Final = 2.0


class Turns:
    """Takes turns within one process. Who waits is called in the order of coming, save that those go first whose
    tenants have fewest under way."""

    def __init__(self, most: int, waiting: int, patience_s: float = PATIENCE_S) -> None:
        """
        Args:
            most: at once. A tenant has one less than that, so that what takes long for one is not waited for by others.
            waiting: at most, besides those. A tenant has half of these places.
            patience_s: how long somebody waits for a turn.
        """
        self._patience_s = patience_s
        self._most, self._each = most, max(1, most - 1)
        self._waiting_most, self._waiting_each = waiting, max(1, waiting // 2)
        self._running: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    @property
    def running(self) -> int:
        """How many have their turn."""
        return self._running.total()

    @property
    def waiting(self) -> int:
        """How many wait for it."""
        return len(self._waiting)

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it for as long as the block lasts. Raises CancelledError where what is made with it
        is wanted by nobody any more (`wanted`).

        Raises:
            Busy: too many wait already, or it took too long.
        """
        if self._may(tenant):
            self._running[tenant] += 1
        else:
            await self._wait(tenant)
        try:
            yield
        finally:
            self._running[tenant] -= 1
            if not self._running[tenant]:
                del self._running[tenant]
            self._call()

    def _may(self, tenant: str) -> bool:
        return self.running < self._most and self._running[tenant] < self._each

    async def _wait(self, tenant: str) -> None:
        mine = sum(1 for other, _ in self._waiting if other == tenant)
        if len(self._waiting) >= self._waiting_most or mine >= self._waiting_each:
            raise Busy("too much is being made of videos just now; ask again in a moment", _AGAIN_S)
        try:
            async with asyncio.timeout(self._patience_s):
                await self._called(tenant)
        except TimeoutError:
            raise Busy("it takes long to make something of videos just now; ask again in a moment", _AGAIN_S) from None

    async def _called(self, tenant: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (tenant, turn)
        self._waiting.append(entry)
        try:
            await called(turn)
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # Called in the same moment: the turn is for another.
                self._running[tenant] -= 1
                self._call()
            else:
                self._waiting.remove(entry)
            raise

    def _call(self) -> None:
        """Call those who may come now."""
        # Who was canceled just now is still among them.
        while may := [entry for entry in self._waiting if not entry[1].done() and self._may(entry[0])]:
            entry = min(may, key=lambda one: self._running[one[0]])
            self._waiting.remove(entry)
            self._running[entry[0]] += 1
            entry[1].set_result(None)
