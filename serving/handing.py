"""What `automations serve` tells the API, which it starts before it knows anything: the settings, what is waited for,
and at last where the database is. A pipe carries it: there are secrets among that, which are nobody else's to see.
"""

import os
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import IO, Final

import msgspec

from serving.errors import NotRunning
from serving.settings import Settings

#: Of one read, bytes.
_CHUNK: Final = 1 << 16


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is told."""

    settings: Settings | None = None
    """The first line."""
    waits: str = ""
    """What is waited for."""
    database_url: str = ""
    """Where the database is: the last line."""


class Telling:
    """The end of who knows. One that does not listen any more has ended, which its parent sees."""

    def __init__(self, pipe: IO[bytes]) -> None:
        """`pipe`: unbuffered."""
        self._pipe = pipe

    def settings(self, settings: Settings) -> None:
        """What is set. Comes first."""
        self._tell(_Line(settings=settings))

    def waits(self, what: str) -> None:
        """What is waited for now."""
        self._tell(_Line(waits=what))

    def there(self, database_url: str) -> None:
        """The database is there. Comes last."""
        self._tell(_Line(database_url=database_url))

    def _tell(self, line: _Line) -> None:
        with suppress(BrokenPipeError):
            self._pipe.write(msgspec.json.encode(line) + b"\n")


class Told:
    """The end of who needs it: listens on a thread of its own from the beginning."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor`: of the pipe."""
        self._descriptor = descriptor
        self.waits = ""
        """What is waited for; empty while nothing was told."""
        self._settings: Future[Settings] = Future()
        self._url: Future[str] = Future()
        # Nobody has to wait for it: who is told to end meanwhile ends.
        threading.Thread(target=self._listen, name="told", daemon=True).start()

    def settings(self) -> Settings:
        """What is set, once that is known. Raises NotRunning: who was to tell has ended."""
        return self._settings.result()

    def database_url(self) -> str:
        """Where the database is, once it is there. Raises NotRunning: who was to tell has ended."""
        return self._url.result()

    def _listen(self) -> None:
        left = b""
        try:
            # Not by a file object: Python cannot end while another thread reads from one.
            while chunk := os.read(self._descriptor, _CHUNK):
                *lines, left = (left + chunk).split(b"\n")
                for line in lines:
                    self._take(msgspec.json.decode(line, type=_Line))
        finally:
            # Whatever the reason is that no more comes, nobody waits for it for ever.
            self._end()

    def _end(self) -> None:
        for future in (self._settings, self._url):
            if not future.done():
                future.set_exception(NotRunning("who started this API has ended before its database was there"))

    def _take(self, told: _Line) -> None:
        if told.settings is not None:
            self._settings.set_result(told.settings)
        if told.database_url:
            self._url.set_result(told.database_url)
        self.waits = told.waits
