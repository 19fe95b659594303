"""Whether anybody waits for what is being made. What nobody waits for any more needs no turn: who drags a handle along
a time line asks for a picture of each place, and leaves before it is there.

Once something has its turn it is made to its end: it is known then to whoever asks next.
"""

import asyncio
from contextvars import ContextVar
from typing import Any, Final


class Wanted:
    """Of one thing that is being made, and that several may wait for."""

    def __init__(self) -> None:
        self.takers = 0
        """How many wait for it."""
        self._turn: asyncio.Future[None] | None = None

    def left(self) -> bool:
        """One waits for it no more; whether it is given up therefore."""
        self.takers -= 1
        return not self.takers and self._turn is not None and self._turn.cancel()

    async def wait(self, turn: asyncio.Future[None]) -> None:
        """Wait for a turn. Raises CancelledError, as soon as nobody waits for the thing."""
        if not self.takers:
            raise asyncio.CancelledError
        self._turn = turn
        try:
            await turn
        finally:
            self._turn = None


#: What this task makes, where it does so for whoever may wait for it.
MADE: Final[ContextVar[Wanted | None]] = ContextVar("made", default=None)


async def called(turn: asyncio.Future[Any]) -> None:
    """Wait for a turn, for as long as somebody wants what is made with it. Raises CancelledError: nobody does."""
    wanted = MADE.get()
    await (turn if wanted is None else wanted.wait(turn))
