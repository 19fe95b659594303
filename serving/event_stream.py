"""Reads Server-Sent Events (WHATWG HTML, 9.2.6) from bytes as they come."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

#: Bounds on what a server may ask for, seconds.
MIN_RETRY_S, MAX_RETRY_S = 0.1, 60.0

_MARK = b"\xef\xbb\xbf"
_NUMBER = re.compile(rb"[0-9]{1,18}")


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a job."""

    number: int
    """Counts the job's events from 1."""
    kind: str
    """`queued`, `running`, `progress`, `candidates`, `segment`, `succeeded`, `failed`, `canceled`, or what others
    there may be later."""
    data: dict[str, Any]


class EventParser:
    """Takes a stream apart. An event that was cut off is no event: whoever connects anew gets it whole."""

    def __init__(self) -> None:
        self.retry_s = 1.0
        """How long the server wants a client to wait before it connects again."""
        self.reset()

    def reset(self) -> None:
        """Another stream begins."""
        self._rest = b""
        self._after_return = False
        self._fresh = True
        self._kind, self._number, self._data = "message", 0, []

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Events that are whole with these bytes.

        Raises:
            msgspec.DecodeError: data that is no JSON object.
        """
        # Lines are split by hand: what splits text would do so at other characters, too, which data may hold.
        if self._after_return and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_return = False
        if chunk:
            self._after_return = chunk.endswith(b"\r")
        *lines, self._rest = (self._rest + chunk).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            if self._fresh:
                line = line.removeprefix(_MARK)
                self._fresh = False
            if line:
                self._field(line)
            elif self._data:
                data = msgspec.json.decode(b"\n".join(self._data), type=dict[str, Any])
                yield Event(number=self._number, kind=self._kind, data=data)
                self._kind, self._data = "message", []
            else:
                self._kind = "message"

    def _field(self, line: bytes) -> None:
        """Take one line in; one that begins with a colon is there to keep the connection alive, and says nothing."""
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._kind = value.decode(errors="replace")
        elif name == b"id" and _NUMBER.fullmatch(value):
            self._number = int(value)
        elif name == b"retry" and _NUMBER.fullmatch(value):
            self.retry_s = min(max(int(value) / 1000, MIN_RETRY_S), MAX_RETRY_S)
