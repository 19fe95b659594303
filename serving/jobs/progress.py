"""Tells the database how far a job is, and hands it what is worth keeping, once a second."""

import asyncio
import contextlib
import time
from types import TracebackType
from typing import Any

from pipeline.report import Segment
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
        self._candidates: dict[str, Any] | None = None
        self._task: asyncio.Task[None] | None = None

    def tell(self, stage: str, done: int, total: int) -> None:
        """`pipeline.analyze.Progress`."""
        if stage != self._now.get("stage"):
            self._began = time.monotonic()
        spent_s = time.monotonic() - self._began
        remaining_s = round(spent_s * (total - done) / done, 1) if 0 < done < total else None
        self._now = {"stage": stage, "done": done, "total": total, "remaining_s": remaining_s}

    def found(self, until_s: float, segments: tuple[Segment, ...]) -> None:
        """`pipeline.candidates.Told`. Of two within a second, the later one is told."""
        best = [
            {
                "start_s": segment.start_s,
                "end_s": segment.end_s,
                "score": round(segment.score, 4),
                "reasons": segment.reasons,
            }
            for segment in segments
        ]
        self._candidates = {"until_s": round(until_s, 3), "segments": best}

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
                if self._now != self._told or self._candidates is not None:
                    self._told, candidates = self._now, self._candidates
                    self._candidates = None
                    await self._queue.progress(self._lease, self._told, candidates)

    async def _keep(self) -> None:
        new = self._engine.new()
        if new:
            await self._queue.checkpoint(self._lease, new)
