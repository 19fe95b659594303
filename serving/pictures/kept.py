"""What was made is kept for a while, in memory and nowhere else, within bounds; and is made once at a time."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Final

from pipeline.errors import UnsupportedCodec, VideoError
from serving.pictures.wanted import MADE, Wanted

#: How long something is kept that nobody asks for, and that something cannot be had, seconds.
KEEP_S: Final = 600.0
FAILED_S: Final = 30.0

#: What remembering a failure counts, bytes.
_FAILURE_BYTES: Final = 500


@dataclass(slots=True)
class _Entry:
    value: Any
    size_bytes: int
    until: float
    """By `time.monotonic`."""


@dataclass(frozen=True, slots=True)
class _Failure:
    kind: type[VideoError]
    message: str


@dataclass(frozen=True, slots=True)
class _Making:
    task: asyncio.Task[Any]
    wanted: Wanted


class Kept:
    """Values under an object's name and what of it they are. The name of an object is never used again, so that what
    was made of one is never taken for another's. Whoever asks has looked first whether the video is still there."""

    def __init__(self, most_bytes: int) -> None:
        """`most_bytes`: of all values together; those that nobody asked for longest go first."""
        self._most_bytes = most_bytes
        self._entries: OrderedDict[tuple[str, Hashable], _Entry] = OrderedDict()
        self._making: dict[tuple[str, Hashable], _Making] = {}
        self.size_bytes = 0
        """Of all that is kept."""

    async def get(
        self, object_key: str, what: Hashable, make: Callable[[], Awaitable[Any]], size: Callable[[Any], int]
    ) -> Any:
        """A value, made where there is none. Of those who ask for it meanwhile, all get the one, and once the last of
        them was canceled it is given up, unless it has its turn; that it cannot be had is remembered for `FAILED_S`; as
        long as a value, where that is how the video is.

        Args:
            size: bytes of a value.

        Raises:
            VideoError: it cannot be had. And what else `make` raises.
        """
        name = (object_key, what)
        self._drop_old()
        entry = self._entries.get(name)
        if entry is not None:
            if isinstance(entry.value, _Failure):
                raise entry.value.kind(entry.value.message)
            self._entries.move_to_end(name)
            entry.until = time.monotonic() + KEEP_S
            return entry.value
        making = self._making.get(name)
        if making is None:
            making = self._making[name] = self._begun(name, make, size)
        making.wanted.takers += 1
        try:
            return await asyncio.shield(making.task)
        finally:
            # Whoever comes now begins anew.
            if making.wanted.left() and self._making.get(name) is making:
                del self._making[name]

    def _begun(
        self, name: tuple[str, Hashable], make: Callable[[], Awaitable[Any]], size: Callable[[Any], int]
    ) -> _Making:
        wanted = Wanted()
        context = copy_context()
        context.run(MADE.set, wanted)
        task = asyncio.create_task(self._make(name, make, size), context=context)
        # Nobody need be left who waits for it.
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return _Making(task, wanted)

    async def _make(
        self, name: tuple[str, Hashable], make: Callable[[], Awaitable[Any]], size: Callable[[Any], int]
    ) -> Any:
        try:
            value = await make()
        except VideoError as error:
            if self._is_mine(name):
                keep_s = KEEP_S if isinstance(error, UnsupportedCodec) else FAILED_S
                self._put(name, _Entry(_Failure(type(error), str(error)), _FAILURE_BYTES, time.monotonic() + keep_s))
            raise
        else:
            # What was forgotten meanwhile is not kept, even where it is being made anew.
            if self._is_mine(name):
                self._put(name, _Entry(value, size(value), time.monotonic() + KEEP_S))
            return value
        finally:
            if self._is_mine(name):
                del self._making[name]

    def _is_mine(self, name: tuple[str, Hashable]) -> bool:
        """Whether it is this task that others wait for."""
        making = self._making.get(name)
        return making is not None and making.task is asyncio.current_task()

    def forget(self, object_key: str) -> None:
        """Drop all of an object, what is being made included: that is handed out, and not kept."""
        for name in [name for name in self._entries if name[0] == object_key]:
            self._drop(name)
        for name in [name for name in self._making if name[0] == object_key]:
            del self._making[name]

    def _put(self, name: tuple[str, Hashable], entry: _Entry) -> None:
        if name in self._entries:
            self._drop(name)
        if entry.size_bytes > self._most_bytes:
            return
        self._entries[name] = entry
        self.size_bytes += entry.size_bytes
        while self.size_bytes > self._most_bytes:
            self._drop(next(iter(self._entries)))

    def _drop_old(self) -> None:
        """Those that nobody asked for are first; failures, which are not asked anew, are found on the way."""
        now = time.monotonic()
        for name in [name for name, entry in self._entries.items() if entry.until <= now]:
            self._drop(name)

    def _drop(self, name: tuple[str, Hashable]) -> None:
        self.size_bytes -= self._entries.pop(name).size_bytes
