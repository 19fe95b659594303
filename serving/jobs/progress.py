"""Tells the database how far a job is, and hands it what is worth keeping, once a second."""

import asyncio
import contextlib
import time
from types import TracebackType
from typing import Any

from pipeline.report import Segment
from serving.errors import LeaseLost
from serving.faults import Faults
from serving.jobs.checkpointing import CheckpointedEngine
from serving.jobs.lease import Lease
from serving.jobs.queue import Queue

#: How often, seconds.
EVERY_S = 1.0

#: How long a last write may take when the work is over, seconds.
LAST_S = 2.0


class Progress:
    """While its block lasts, what `tell` was told last is written down, and Clips that were finished are kept."""

    def __init__(self, lease: Lease, queue: Queue, engine: CheckpointedEngine) -> None:
        self._lease, self._queue, self._engine = lease, queue, engine
        self._began = time.monotonic()
        self._now: dict[str, Any] = {}
        self._told: dict[str, Any] = {}
        self._candidates: dict[str, Any] | None = None
        self._candidates_told: dict[str, Any] | None = None
        self._unsaved: list[tuple[str, bytes]] = []
        self._faults = Faults(f"the progress of {lease.job_id} is written down")
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
        await asyncio.wait({self._task}, timeout=LAST_S)
        if kind is not None:
            # What was finished so far is what the next attempt is spared.
            with contextlib.suppress(LeaseLost, TimeoutError), self._faults.borne(LeaseLost, TimeoutError):
                async with asyncio.timeout(LAST_S):
                    await self._keep()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                # A database that is away for a moment costs nothing: what it was to be told, it is told later.
                with self._faults.borne(LeaseLost):
                    await self._keep()
                    await self._report()
            except LeaseLost:
                # Whoever renews the lease finds that, too, and ends the work.
                return

    async def _keep(self) -> None:
        self._unsaved += self._engine.new()
        if self._unsaved:
            # Forgotten once they are there for certain: the same may be written twice.
            count = len(self._unsaved)
            await self._queue.checkpoint(self._lease, self._unsaved[:count])
            del self._unsaved[:count]

    async def _report(self) -> None:
        now, candidates = self._now, self._candidates
        if now == self._told and candidates is self._candidates_told:
            return
        fresh = None if candidates is self._candidates_told else candidates
        await self._queue.progress(self._lease, now, fresh)
        self._told, self._candidates_told = now, candidates
