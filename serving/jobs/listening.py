"""Hears PostgreSQL's notices on a connection of its own. They are hints: whoever waits also looks by itself."""

import asyncio
import contextlib
from collections import defaultdict

import asyncpg

#: Wait before a broken connection is made anew, seconds.
_AGAIN_S = 1.0


class Listener:
    """Wakes those who wait for a channel, or for one payload on it."""

    def __init__(self, url: str, channels: tuple[str, ...]) -> None:
        self._url, self._channels = url, channels
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Listener":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def wait(self, channel: str, payload: str | None = None) -> None:
        """Until something is said on the channel; with `payload`, just that."""
        topic = channel if payload is None else f"{channel}:{payload}"
        event = asyncio.Event()
        self._waiting[topic].add(event)
        try:
            await event.wait()
        finally:
            self._waiting[topic].discard(event)
            if not self._waiting[topic]:
                del self._waiting[topic]

    def wake(self, channel: str, payload: str) -> None:
        """As if this had been said."""
        for topic in (channel, f"{channel}:{payload}"):
            for event in self._waiting.get(topic, ()):
                event.set()

    def _said(self, _: object, __: int, channel: str, payload: str) -> None:
        self.wake(channel, payload)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection = await asyncpg.connect(self._url, timeout=10)
                try:
                    gone = asyncio.Event()
                    connection.add_termination_listener(lambda _, gone=gone: gone.set())
                    for channel in self._channels:
                        await connection.add_listener(channel, self._said)
                    # What was said while nobody listened is not said again.
                    self._wake_all()
                    await gone.wait()
                finally:
                    await connection.close(timeout=1)
            await asyncio.sleep(_AGAIN_S)

    def _wake_all(self) -> None:
        for events in self._waiting.values():
            for event in events:
                event.set()
