"""Answers that are bytes of videos: sent as they are taken, and no longer than whoever asked may have them."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, aclosing, suppress
from dataclasses import dataclass
from typing import Any, Final

from litestar import Litestar, Request, Response
from litestar.types import ASGIApp, Receive, Scope, Send

from pipeline.errors import VideoError
from serving.api.leaving import until_gone
from serving.cutting import cut_off
from serving.errors import ServerError

#: How often is looked whether whoever asked still may, seconds.
CHECK_S: Final = 1.0

#: Bytes that are handed to the server at once: it keeps as much again of what a client is slow to take.
_AT_ONCE: Final = 64 << 10

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sending:
    """What is sent."""

    pieces: AsyncGenerator[bytes]
    size_bytes: int
    """Of all pieces, if nothing goes wrong."""
    allowed: Callable[[], Awaitable[bool]]
    """Whether whoever asked still may."""
    slot: AbstractContextManager[object]
    """What is given back once it is over, or nobody has it any more."""
    stalled_s: float
    """For how long a client may take nothing."""
    least_bytes_per_s: float
    """How many it takes, averaged over that time."""
    name: str
    """What is sent, for the log."""


class Pace:
    """Whether a client takes what is sent as fast as it has to. Time in which others are waited for, a store for
    example, does not count."""

    def __init__(self, over_s: float, least_bytes_per_s: float) -> None:
        """`over_s`: of waiting for the client, after each of which is looked."""
        self._over_s, self._least = over_s, least_bytes_per_s
        self._waited_s, self._bytes = 0.0, 0

    def holds(self, size_bytes: int, waited_s: float) -> bool:
        """So many bytes more were taken, for which it was waited so long; whether it goes on."""
        self._waited_s += waited_s
        self._bytes += size_bytes
        if self._waited_s < self._over_s:
            return True
        fast = self._bytes >= self._least * self._waited_s
        self._waited_s, self._bytes = 0.0, 0
        return fast


class Sent(Response[None]):
    """An answer with a body that is made while it is sent; without one, its headers alone."""

    def __init__(self, status: int, headers: dict[str, str], sending: Sending | None = None) -> None:
        """`headers`: all of them."""
        super().__init__(None, status_code=status, headers=headers)
        self._status = status
        self._sending = sending

    def without_body(self) -> "Sent":
        """The same headers alone. What was to be sent is given back."""
        if self._sending is not None:
            self._sending.slot.__exit__(None, None, None)
        return Sent(self._status, dict(self.headers))

    def to_asgi_response(self, app: Litestar | None, request: Request[Any, Any, Any], **_: Any) -> ASGIApp:  # type: ignore[override]
        """See `Response.to_asgi_response`."""
        return self._answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in self.headers.items()]
        start = {"type": "http.response.start", "status": self._status, "headers": headers}
        if self._sending is None:
            await send(start)  # type: ignore[arg-type]
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        gone = asyncio.create_task(until_gone(receive))
        try:
            if not await _send_all(self._sending, start, send, gone):
                await cut_off(scope, gone)
        finally:
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone


async def _send_all(what: Sending, start: dict[str, Any], send: Send, gone: "asyncio.Task[None]") -> bool:
    """Send it, after its `start`; whether the client may have what was handed over. It may not have the rest of it
    where it takes nothing or too little or may no longer, and is cut off then. Where something else is in the way it
    ends too: the connection is closed before all was sent that was said to come, by which clients know it."""
    left, checked = what.size_bytes, time.monotonic()
    pace = Pace(what.stalled_s, what.least_bytes_per_s)
    with what.slot:
        try:
            async with aclosing(what.pieces):
                # This waits too, where an earlier answer on the same connection is not taken.
                async with asyncio.timeout(what.stalled_s):
                    await send(start)  # type: ignore[arg-type]
                async for piece in what.pieces:
                    for at in range(0, len(piece), _AT_ONCE):
                        if gone.done():
                            return True
                        if time.monotonic() - checked >= CHECK_S:
                            if not await what.allowed():
                                return False
                            checked = time.monotonic()
                        part = bytes(piece[at : at + _AT_ONCE])
                        left -= len(part)
                        began = time.monotonic()
                        # What is handed over waits until most of what was before it is on its way.
                        async with asyncio.timeout(what.stalled_s):
                            await send({"type": "http.response.body", "body": part, "more_body": left > 0})
                        if not pace.holds(len(part), time.monotonic() - began):
                            return False
        except TimeoutError:
            return False
        except (VideoError, ServerError, OSError) as error:
            _LOG.warning("%s: what was being sent ended: %s: %s", what.name, type(error).__name__, error)
    return True
