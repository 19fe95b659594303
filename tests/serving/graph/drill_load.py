"""What goes on at the server of `drill` all the time: jobs, and somebody who asks the API ten times a second."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

#: Jobs that are not over, at any time; a worker takes two at once.
_AT_ONCE: Final = 3

#: How often each question is asked, and how often jobs are looked at, seconds.
_ASK_S, _LOOK_S = 0.1, 0.25

#: Of the first job; it grows by a millionth of a second with each.
_TOLERANCE_S: Final = 0.5


@dataclass(slots=True)
class Posted:
    """A job."""

    id: str
    number: int
    film: int
    posted_at: float
    """By `time.monotonic`, as all moments here."""
    state: str = "queued"
    ended_at: float | None = None

    @property
    def over(self) -> bool:
        """Whether nothing will become of it any more."""
        return self.ended_at is not None


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that was not answered as it has to be."""

    at: float
    request: str
    why: str


@dataclass(slots=True, kw_only=True)
class Journal:
    """What was asked of a server, and what came of it."""

    jobs: list[Posted] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    asked: int = 0
    """Requests so far, of those that must not fail."""
    different: dict[str, str] = field(default_factory=dict)
    """Ids of jobs whose report is not that of the undisturbed one -> how."""

    async def answered(
        self, client: httpx.AsyncClient, method: str, path: str, status: int | None = None, **more: Any
    ) -> httpx.Response | None:
        """The answer; None where that is a failure.

        Args:
            status: the only one that is no failure; None: any of success.
        """
        self.asked += 1
        try:
            answer = await client.request(method, path, **more)
        except httpx.TransportError as error:
            self.failed(f"{method} {path}", repr(error))
            return None
        if not (answer.is_success if status is None else answer.status_code == status):
            self.failed(f"{method} {path}", f"{answer.status_code} {answer.text:.200}")
            return None
        return answer

    def failed(self, request: str, why: str) -> None:
        """Note that a request was not answered as it has to be, just now."""
        self.failures.append(Failure(time.monotonic(), request, why))


@dataclass(slots=True)
class Load(Journal):
    """Jobs at a server, and questions; both go on while the block lasts."""

    client: httpx.AsyncClient
    films: list[str] = field(default_factory=list)
    """Ids of the videos."""
    posting: bool = True
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _number: int = 0

    async def upload(self, paths: list[Path]) -> None:
        """Have these films there."""
        for path in paths:
            answer = await self.client.post("/v1/videos", content=path.read_bytes(), params={"filename": path.name})
            self.films.append(answer.raise_for_status().json()["id"])

    async def __aenter__(self) -> "Load":
        polls: tuple[Callable[[], Coroutine[Any, Any, None]], ...] = (
            lambda: self._asks("GET", "/livez"),
            lambda: self._asks("GET", "/readyz?part=api"),
            self._reads,
            self._posts_again,
        )
        loops = [*(self._every(_ASK_S, poll) for poll in polls), self._every(_LOOK_S, self._go_on)]
        self._tasks = [asyncio.create_task(loop) for loop in loops]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        found = await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in found:
            if isinstance(one, Exception):
                raise one

    async def post(self) -> Posted:
        """One more job, which nobody has computed yet; tried until it is there."""
        number = self._number
        self._number += 1
        while (answer := await self._sent("POST", "/v1/jobs", **self._body(number))) is None:
            await asyncio.sleep(_ASK_S)
        job = Posted(answer["id"], number, number % len(self.films), time.monotonic())
        self.jobs.append(job)
        return job

    async def texts_are_embedded(self) -> bool:
        """Whether the graph answers the API itself; that it may not is no failure."""
        body = {"model": "bundled", "input": ["a red circle"]}
        return (await self.client.post("/v1/embeddings", json=body)).status_code == 200

    async def report(self, job: Posted) -> bytes:
        """Of a job that succeeded, as the API gives it."""
        return (await self.client.get(f"/v1/jobs/{job.id}/report")).raise_for_status().content

    async def _go_on(self) -> None:
        """Look at the jobs that are not over, and see that there are as many as there should be."""
        left = [job for job in self.jobs if not job.over]
        for job in left:
            found = await self._sent("GET", f"/v1/jobs/{job.id}")
            if found is not None:
                job.state = found["state"]
                if job.state not in ("queued", "running"):
                    job.ended_at = time.monotonic()
        for _ in range(_AT_ONCE - sum(not job.over for job in left)):
            if self.posting:
                await self.post()

    async def _asks(self, method: str, path: str) -> None:
        await self._sent(method, path)

    async def _reads(self) -> None:
        if self.jobs:
            await self._sent("GET", f"/v1/jobs/{self.jobs[-1].id}")

    async def _posts_again(self) -> None:
        """A job that is there already, by its key: to the API and the database all the same, to the graph no work."""
        if not self.jobs:
            return
        job = self.jobs[-1]
        answer = await self._sent("POST", "/v1/jobs", **self._body(job.number))
        if answer is not None and answer["id"] != job.id:
            self.failed("POST /v1/jobs", f"a second job for one key: {answer['id']}")

    def _body(self, number: int) -> dict[str, Any]:
        # Each has features of its own, or most would be shared: no frame is another for a millionth of a second.
        sampling = {"fps": 4.0, "tolerance_s": _TOLERANCE_S + number / 1e6}
        return {
            "json": {
                "video_id": self.films[number % len(self.films)],
                "spec": {"model": "bundled", "sampling": sampling},
            },
            "headers": {"Idempotency-Key": f"drill {number}"},
        }

    async def _sent(self, method: str, path: str, **more: Any) -> dict[str, Any] | None:
        """The answer; None where that is a failure."""
        answer = await self.answered(self.client, method, path, **more)
        if answer is None:
            return None
        return answer.json() if answer.headers.get("content-type", "").startswith("application/json") else {}

    async def _every(self, period_s: float, what: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            await what()
            await asyncio.sleep(period_s)
