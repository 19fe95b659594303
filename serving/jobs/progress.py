"""Tells the database how far a job is, and hands it what is worth keeping, once a second."""

import asyncio
import contextlib
import time
from types import TracebackType
from typing import Any

from serving.errors import DatabaseUnavailable
from serving.jobs.checkpointing import CheckpointedEngine
from serving.jobs.lease import Lease
from serving.jobs.queue import Queue

#: How often, seconds.
EVERY_S = 1.0


class Progress:
    """While its block lasts, what `tell` was told last is written down, and Clips that were finished are kept."""

    def __init__(self, lease: Lease, queue: Queue, engine: CheckpointedEngine) -> None:
        self._lease, self._queue, self._engine = lease, queue, engine
        self._began = time.monotonic()
        self._now: dict[str, Any] = {}
        self._told: dict[str, Any] = {}
        self._task: asyncio.Task[None] | None = None

    def tell(self, stage: str, done: int, total: int) -> None:
        """`pipeline.analyze.Progress`."""
        spent_s = time.monotonic() - self._began
        remaining_s = round(spent_s * (total - done) / done, 1) if done else None
        self._now = {"stage": stage, "done": done, "total": total, "remaining_s": remaining_s}

    async def __aenter__(self) -> "Progress":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if kind is not None:
            # What was finished so far is what the next attempt is spared.
            with contextlib.suppress(DatabaseUnavailable):
                await self._keep()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            # A database that is away for a moment costs a report of progress, no more.
            with contextlib.suppress(DatabaseUnavailable):
                await self._keep()
                if self._now != self._told:
                    self._told = self._now
                    await self._queue.progress(self._lease, self._told)

    async def _keep(self) -> None:
        new = self._engine.new()
        if new:
            await self._queue.checkpoint(self._lease, new)
