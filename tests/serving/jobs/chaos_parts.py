"""What `chaos` is done with: processes, a client who insists, films."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx

from pipeline.synthesis import Encoding, write_video
from serving.auth import keys
from serving.auth.principals import SCOPES
from serving.db.accounts import Tenant
from serving.db.database import SYSTEM, Database
from serving.db.work import Endpoint
from serving.errors import DatabaseUnavailable
from tests.formats.chart import moments
from tests.serving.cutting import free_port
from tests.serving.jobs.working import SECRET

ROOT = Path(__file__).parents[3]

T = TypeVar("T")


async def insisted(what: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """As a client would: again, while the database is away."""
    while True:
        try:
            return await what(*arguments)
        except DatabaseUnavailable:
            await asyncio.sleep(0.2)


class Processes:
    """Forks of one process that has everything imported, see `working`."""

    def __init__(self, url: str, folder: Path, lease_s: float) -> None:
        command = (sys.executable, "-m", "tests.serving.jobs.working", url, str(folder), str(lease_s))
        self._parent = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.workers: list[int] = []
        self.apis: dict[int, int] = {}
        """Process id -> port."""

    def start_worker(self) -> None:
        """One more."""
        self.workers.append(self._forked("worker"))

    def replace_worker(self, pid: int) -> None:
        """Kill one, and start another."""
        os.kill(pid, signal.SIGKILL)
        self.workers.remove(pid)
        self.start_worker()

    def start_api(self, port: int | None = None) -> None:
        """One more."""
        port = port or free_port()
        self.apis[self._forked(f"api {port}")] = port

    def replace_api(self, pid: int) -> None:
        """Kill one, and start another on its port."""
        os.kill(pid, signal.SIGKILL)
        self.start_api(self.apis.pop(pid))

    def close(self) -> None:
        """End all of them."""
        for pid in (*self.workers, *self.apis):
            os.kill(pid, signal.SIGKILL)
        assert self._parent.stdin is not None
        self._parent.stdin.close()
        self._parent.wait()

    def _forked(self, what: str) -> int:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(f"{what}\n")
        self._parent.stdin.flush()
        return int(self._parent.stdout.readline())


class Client:
    """Sends everything again, to whichever process of the API, until there is an answer."""

    def __init__(self, processes: Processes, key: str) -> None:
        self._processes = processes
        self._client = httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=10, trust_env=False)

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def post_jobs(self, films: list[Path], count: int) -> None:
        """Upload the films, and post so many jobs, a few at once; each is named, so that it is queued once."""
        videos = []
        for film in films:
            videos.append((await self._sent("POST", "/v1/videos", content=film.read_bytes()))["id"])
        numbers = iter(range(count))

        async def some() -> None:
            for number in numbers:
                # Each has features of its own, or most would be shared.
                sampling = {"fps": 4.0, "tolerance_s": 0.5 + number / 1e6}
                body = {"video_id": videos[number % len(videos)], "spec": {"model": "bundled", "sampling": sampling}}
                await self._sent("POST", "/v1/jobs", json=body, headers={"Idempotency-Key": f"job {number}"})

        await asyncio.gather(*(some() for _ in range(4)))

    async def _sent(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        while True:
            port = random.choice(list(self._processes.apis.values()))
            try:
                answer = await self._client.request(method, f"http://127.0.0.1:{port}{path}", **more)
            except httpx.TransportError:
                await asyncio.sleep(0.1)
                continue
            if answer.status_code in (429, 500, 503):
                await asyncio.sleep(0.2)
                continue
            assert answer.status_code in (200, 201, 202), answer.text
            return answer.json()


async def prepared(database: Database, folder: Path) -> tuple[str, list[Path]]:
    """A tenant with a webhook, its key, and films."""
    films = [write_video(folder / f"film{n}.mp4", moments(12 + n), fps=12, encoding=Encoding(gop=6)) for n in range(4)]
    async with database.write("tenant.create", SYSTEM) as session:
        session.add(Tenant(id="a", name="a"))
        await session.flush()
        session.add(Endpoint(id="whk_1", tenant_id="a", url="https://example.com", secret="whsec_x"))
        key, _ = await keys.create(session, SECRET, "a", "k", SCOPES)
    return key, films
