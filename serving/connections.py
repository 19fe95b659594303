"""Connections of clients that take nothing: ended, where uvicorn would wait for them for ever.

uvicorn closes a connection once all that was written to it is on its way, which is never where a client reads no more.
"""

import socket
import struct
from contextlib import suppress
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serving.cutting import CONNECTION

#: SO_LINGER, of 0 seconds: what is not sent yet is forgotten, by the system too.
_AT_ONCE: Final = struct.pack("ii", 1, 0)


class Connection(HttpToolsProtocol):
    """What uvicorn has for each connection, which apps may cut off (`cutting.cut_off`)."""

    stalled_s: float = 60.0
    """For how long a client may take nothing of what is to be sent, whatever that is."""

    def __init__(self, *given: Any, **named: Any) -> None:
        """See `HttpToolsProtocol`."""
        super().__init__(*given, **named)
        self._unanswered: list[RequestResponseCycle] = []

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        line = transport.get_extra_info("socket")
        # The system sees what nobody waits for here any more: an answer that was all written, a connection that was
        # closed. Linux has it, and counts from when the other end took or acknowledged something last.
        if (
            line is not None
            and line.family in (socket.AF_INET, socket.AF_INET6)
            and hasattr(socket, "TCP_USER_TIMEOUT")
        ):
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, round(self.stalled_s * 1000)))

    def on_message_begin(self) -> None:
        """See `httptools.HttpRequestParser`."""
        super().on_message_begin()
        self.scope["extensions"] = {CONNECTION: {"abort": self.abort}}

    def on_headers_complete(self) -> None:
        """See `httptools.HttpRequestParser`."""
        super().on_headers_complete()
        self._unanswered = [one for one in self._unanswered if not one.response_complete]
        if self.cycle is not None:
            self._unanswered.append(self.cycle)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        # uvicorn tells the request that came last; others may have come before it, and one of them is answered now.
        for one in self._unanswered:
            if not one.response_complete:
                one.disconnected = True
                one.message_event.set()
        self._unanswered.clear()
        super().connection_lost(exc)

    def abort(self) -> None:
        """End it now. What was not sent yet is lost."""
        if not self.transport.is_closing():
            line = self.transport.get_extra_info("socket")
            # Some systems refuse it where the other end is gone already; then nothing is left to forget.
            with suppress(OSError):
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()


def connections(stalled_s: float) -> type[Connection]:
    """What uvicorn is to have for each connection (`Config.http`).

    Args:
        stalled_s: for how long a client may take nothing.
    """
    return type("Connection", (Connection,), {"stalled_s": stalled_s})
