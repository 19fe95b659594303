"""Who uses the server of `drill_swaps` meanwhile: clients that each have one job after the other done."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from pipeline.report import Report
from tests.serving.graph.drill_load import Journal, Posted

#: How often a client looks whether its job is over, and how soon it asks again what failed, seconds.
_LOOK_S, _AGAIN_S = 0.25, 1.0

#: Of a client's first job; it grows by a millionth of a second with each.
_TOLERANCE_S: Final = 0.5

FPS: Final = 8.0
"""Pictures a second that jobs look at: all of them."""

TEXT: Final = "a red circle"
"""What clients ask an embedding of, between jobs."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a client was given for a job that is over."""

    job: Posted
    client: int
    """Who has the film of this number."""
    started_at: datetime
    """By the clock of the database, as of the next."""
    finished_at: datetime
    report: Report | None
    """None: the job did not succeed."""
    features: str
    """`computed` or `shared`, as in `serving.jobs.metrics.Metrics`."""


@dataclass(frozen=True, slots=True)
class Vector:
    """What a client was given for `TEXT`."""

    at: float
    """By `time.monotonic`."""
    space: str
    numbers: tuple[float, ...]


@dataclass(slots=True)
class Crowd(Journal):
    """Clients of a server; they go on while the block lasts, and each ends the job that it is at."""

    clients: tuple[httpx.AsyncClient, ...]
    films: tuple[Path, ...]
    """Of each client."""
    patience_s: float
    """How long a client's last job may take, seconds."""
    results: list[Result] = field(default_factory=list)
    vectors: list[Vector] = field(default_factory=list)
    going_on: bool = True
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> "Crowd":
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(len(self.clients))]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.going_on = False
        done, late = await asyncio.wait(self._tasks, timeout=self.patience_s)
        for task in late:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*late)
        # Jobs of those that are late have no result.
        for task in done:
            task.result()

    def require_alive(self) -> None:
        """Raises what a client has ended with, if one has."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def _client(self, number: int) -> None:
        film = self.films[number]
        params = {"filename": film.name}
        video = await self._had(number, "POST", "/v1/videos", 201, content=film.read_bytes(), params=params)
        count = 0
        while self.going_on:
            job = await self._posted(number, video["id"], count)
            await self._ended(number, job)
            found = await self._had(number, "POST", "/v1/embeddings", 200, json={"model": "bundled", "input": [TEXT]})
            self.vectors.append(Vector(time.monotonic(), found["space"], tuple(found["data"][0])))
            count += 1

    async def _posted(self, number: int, video: str, count: int) -> Posted:
        # Each has features of its own, or a report of one that is there already would do: no frame is another for a
        # millionth of a second.
        sampling = {"fps": FPS, "tolerance_s": _TOLERANCE_S + count / 1e6}
        body = {"video_id": video, "spec": {"model": "bundled", "sampling": sampling}}
        headers = {"Idempotency-Key": f"drill {number} {count}"}
        began = time.monotonic()
        made = await self._had(number, "POST", "/v1/jobs", 202, json=body, headers=headers)
        job = Posted(made["id"], count, number, began)
        self.jobs.append(job)
        return job

    async def _ended(self, number: int, job: Posted) -> None:
        """Wait until it is over, and read what came of it."""
        while True:
            found = await self._had(number, "GET", f"/v1/jobs/{job.id}", 200)
            job.state = found["state"]
            if job.state not in ("queued", "running"):
                break
            await asyncio.sleep(_LOOK_S)
        job.ended_at = time.monotonic()
        report, features = None, ""
        if job.state == "succeeded":
            features = found["metrics"]["features"]
            report = msgspec.convert(await self._had(number, "GET", f"/v1/jobs/{job.id}/report", 200), Report)
        started, finished = (datetime.fromisoformat(found[name]) for name in ("started_at", "finished_at"))
        self.results.append(Result(job, number, started, finished, report, features))

    async def _had(self, number: int, method: str, path: str, status: int, **more: Any) -> dict[str, Any]:
        """The answer to a client's request; one that fails is noted, and sent again."""
        while True:
            answer = await self.answered(self.clients[number], method, path, status, **more)
            if answer is not None:
                return answer.json()
            await asyncio.sleep(_AGAIN_S)
