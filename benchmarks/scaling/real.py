"""A step from 1 to 30 jobs on a real graph: a server, a database, jobs, and who is there meanwhile."""

import asyncio
import contextlib
import copy
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
from sqlalchemy import Executable, text

from benchmarks.corpus import job as corpus
from benchmarks.scaling.measures import Measures, Moment
from benchmarks.scaling.server import Server, free_port, serving
from pipeline.synthesis import Encoding
from serving.db import embedded, migrate
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.graph import deploy_file
from serving.graph.args import WORKER
from serving.jobs import backlog
from serving.places import made_first_key, places
from serving.settings import DEFAULTS

#: What is analysed: long enough for many Clips, short enough for some 50 of them on two cores.
VIDEO: Final = corpus.JobVideo("step", height=360, fps=25, duration_s=120, encoding=Encoding(codec="libx264", gop=50))

#: Jobs that come at once, so long after a first one, seconds.
JOBS, PAUSE_S = 30, 20.0

#: Once they are done, one comes every so often, for so long, seconds: replicas are taken away while there is work.
EVERY_S, TRICKLE_S = 4.0, 60.0

#: How long is watched after the last job, seconds: until the replicas are as few as before.
SETTLE_S: Final = 60.0

#: The package's YAML for one machine, with delays for people who watch. Its CPUs are fractions: all fits two cores.
_WORKERS: Final = {
    "min_replicas": 1,
    "max_replicas": 3,
    "upscale_delay_s": 5,
    "downscale_delay_s": 30,
    "policy": {
        "policy_function": "serving.graph.policy:BacklogPolicy",
        "policy_kwargs": {"video_s_per_s": 20, "clear_within_s": 60, "oldest_s": 30, "slots": 2, "poll_s": 1},
    },
}
_ENGINES: Final = {
    "min_replicas": 1,
    "max_replicas": 2,
    "target_ongoing_requests": 8,
    "look_back_period_s": 11,
    "upscale_delay_s": 10,
    "downscale_delay_s": 30,
}

#: For starting, and for all jobs of a step, seconds.
_START_S, _STEP_S = 300.0, 1800.0

_LEFT: Final = text("SELECT count(*) FROM job WHERE state IN ('queued', 'running')")
_TIMES: Final = text(
    """
    SELECT extract(epoch FROM started_at - created_at)::float8 AS waited_s,
        extract(epoch FROM finished_at - created_at)::float8 AS took_s,
        extract(epoch FROM finished_at - started_at)::float8 AS run_s
    FROM job WHERE state = 'succeeded' AND created_at >= cast(cast(:since AS text) AS timestamptz) ORDER BY created_at
    """
)
_NOW: Final = text("SELECT clock_timestamp()::text")
_SLOTS: Final = text("SELECT max(slots) FROM worker")
_WORKERS_ALIVE: Final = text("SELECT count(*) FROM worker WHERE seen_at > now() - interval '15 seconds'")
_RELEASED: Final = text("SELECT count(*) FROM event WHERE kind = 'queued' AND data ->> 'reason' = 'released'")
_TWICE: Final = text(
    "SELECT count(*) FROM (SELECT FROM event WHERE kind = 'succeeded' GROUP BY tenant_id, job_id HAVING count(*) > 1) e"
)


@dataclass(slots=True, kw_only=True)
class Real:
    """What came of it."""

    measures: Measures
    step_s: float
    """When the many came, on the curves' clock."""
    asked_s: list[float]
    """When each came."""
    until_s: float
    lost: int
    """Jobs of the step that did not succeed."""
    twice: int
    """Jobs that succeeded more than once."""
    alone_s: float
    """What a job took that ran alone, from its claim to its end, seconds."""
    full_s: float
    """What so many took together as the first worker has slots, seconds."""
    slots: int
    starts_s: dict[str, float]
    """`worker`, `engine` -> what its first replica took to start, with all others at the same time, seconds."""


def written(folder: Path, base: str = "cpu") -> Path:
    """The Serve YAML that is deployed."""
    deploy = copy.deepcopy(deploy_file.load(deploy_file.path_of(base)))
    deploy["http_options"] = dict(deploy.get("http_options") or {}) | {"port": free_port()}
    for deployment in deploy["applications"][0]["deployments"]:
        if deployment["name"].startswith("engine-"):
            deployment.pop("num_replicas", None)
            deployment["autoscaling_config"] = _ENGINES
        elif deployment["name"] == WORKER:
            deployment["autoscaling_config"] = _WORKERS
    path = folder / "step.yaml"
    path.write_text(deploy_file.write(deploy))
    return path


def step(config: Path) -> Real:
    """One job, then 30 at once, then a few one by one, on a graph with this Serve YAML.

    Raises:
        RuntimeError: the server does not start, or jobs do not end; says what it printed last.
    """
    with tempfile.TemporaryDirectory(prefix="as-") as made, embedded.embedded(Path(made) / "postgres") as url:
        folder = Path(made)
        migrate.upgrade(url)
        options = msgspec.structs.replace(DEFAULTS.server, data_dir=str(folder / "data"), database_url=url)
        with places(msgspec.structs.replace(DEFAULTS, server=options), migrated=False) as place:
            key = made_first_key(place)
        with serving(("--config", str(config)), folder, url) as server:
            return asyncio.run(_stepped(server, url, key or ""))


async def _stepped(server: Server, url: str, key: str) -> Real:
    database = Database(url, pool_size=2)
    headers = {"Authorization": f"Bearer {key}"}
    try:
        async with httpx.AsyncClient(base_url=server.address, headers=headers, trust_env=False, timeout=60) as client:
            return await _Step(server, client, database).run()
    finally:
        await database.close()


class _Step:
    def __init__(self, server: Server, client: httpx.AsyncClient, database: Database) -> None:
        self._server, self._client, self._database = server, client, database
        self._asked_s: list[float] = []
        self._began = 0.0
        self._moments: list[Moment] = []

    async def run(self) -> Real:
        await self._until(self._ready, "the server to be ready", _START_S)
        engines = self._server.replicas("engine-")
        slots = await self._figure(_SLOTS)
        video = await self._uploaded()
        # What is measured here goes into the replay, and is no part of the step that is compared with it. The first one
        # is for what is slow once only.
        await self._timed(video, 1)
        alone = await self._timed(video, 1)
        full = await self._timed(video, slots)

        async def at_rest() -> bool:
            return (
                await self._figure(_WORKERS_ALIVE) == 1 and self._server.replicas("engine-", starting=True) <= engines
            )

        await self._until(at_rest, "the replicas to be as few as at first")
        released, since, before = await self._figure(_RELEASED), await self._figure(_NOW), len(self._asked_s)
        async with self._watched():
            await self._ask(video, 1)
            await asyncio.sleep(PAUSE_S)
            step_s = time.monotonic() - self._began
            await self._ask(video, JOBS)
            await self._until(self._over, "all jobs to end")
            for _ in range(round(TRICKLE_S / EVERY_S)):
                await self._ask(video, 1)
                await asyncio.sleep(EVERY_S)
            await self._until(self._over, "all jobs to end")
            await asyncio.sleep(SETTLE_S)
        asked_s = self._asked_s[before:]
        measures = self._measured(slots)
        times = await self._rows(_TIMES, since=since)
        for job in times:
            measures.ended(waited_s=job.waited_s, took_s=job.took_s)
        measures.arrived = len(asked_s)
        measures.handed_back = await self._figure(_RELEASED) - released
        return Real(
            measures=measures,
            step_s=step_s,
            asked_s=asked_s,
            until_s=self._moments[-1].at_s,
            lost=len(asked_s) - len(times),
            twice=await self._figure(_TWICE),
            alone_s=max(alone),
            full_s=max(full),
            slots=slots,
            starts_s=self._server.starts_s(),
        )

    async def _ready(self) -> bool:
        self._server.require_alive()
        with contextlib.suppress(httpx.TransportError):
            return (await self._client.get("/readyz")).status_code == 200
        return False

    async def _uploaded(self) -> str:
        (path,) = await asyncio.to_thread(corpus.written, (VIDEO,))
        answer = await self._client.post("/v1/videos", content=path.read_bytes(), params={"title": "step"})
        answer.raise_for_status()
        return answer.json()["id"]

    async def _ask(self, video: str, count: int) -> None:
        """Jobs that differ in what they compute: of the same ones one would be computed, and the others find it."""
        for _ in range(count):
            self._asked_s.append(time.monotonic() - self._began)
            spec = {"sampling": {"fps": 1 + len(self._asked_s) / 1e6}}
            answer = await self._client.post("/v1/jobs", json={"video_id": video, "spec": spec})
            answer.raise_for_status()

    async def _timed(self, video: str, count: int) -> list[float]:
        """What so many at once took from their claims on, seconds."""
        since = await self._figure(_NOW)
        await self._ask(video, count)
        await self._until(self._over, "jobs to end")
        times = [job.run_s for job in await self._rows(_TIMES, since=since)]
        if len(times) < count:
            raise RuntimeError(f"{count - len(times)} of {count} jobs failed: " + "\n".join(self._server.lines()[-20:]))
        return times

    async def _over(self) -> bool:
        self._server.require_alive()
        return await self._figure(_LEFT) == 0

    @contextlib.asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        self._began = time.monotonic()
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _watch(self) -> None:
        """A worker is there when it says so, an engine when its models are; wanted are those that start, too."""
        while True:
            async with self._database.read(SYSTEM) as session:
                now = await backlog.read(session)
                workers = (await execute(session, _WORKERS_ALIVE)).scalar_one()
            engines = await asyncio.to_thread(self._server.replicas, "engine-")
            all_workers = await asyncio.to_thread(self._server.replicas, WORKER, starting=True)
            all_engines = await asyncio.to_thread(self._server.replicas, "engine-", starting=True)
            self._moments.append(
                Moment(
                    at_s=time.monotonic() - self._began,
                    waiting=now.waiting,
                    running=now.running,
                    oldest_s=now.oldest_s,
                    workers=workers,
                    engines=engines,
                    workers_wanted=all_workers,
                    engines_wanted=all_engines,
                )
            )
            await asyncio.sleep(0.5)

    def _measured(self, slots: int) -> Measures:
        """Replica-seconds are those of processes. How busy an engine is cannot be seen from outside."""
        found = Measures(slots, engine_busy_s=None)
        for before, now in itertools.pairwise(self._moments):
            spent_s = now.at_s - before.at_s
            found.spent(
                spent_s, workers=before.workers_wanted, engines=before.engines_wanted, busy_slots=before.running
            )
            found.changes["worker"] += now.workers_wanted != before.workers_wanted
            found.changes["engine"] += now.engines_wanted != before.engines_wanted
        found.moments = self._moments
        return found

    async def _until(self, done: Callable[[], Awaitable[bool]], what: str, patience_s: float = _STEP_S) -> None:
        end = time.monotonic() + patience_s
        while not await done():
            if time.monotonic() > end:
                said = "\n".join(self._server.lines()[-20:])
                raise RuntimeError(f"waited {patience_s:g} s for {what}; the server says: {said}")
            await asyncio.sleep(0.5)

    async def _rows(self, statement: Executable, **values: Any) -> list[Any]:
        async with self._database.read(SYSTEM) as session:
            return list((await execute(session, statement, **values)).all())

    async def _figure(self, statement: Executable) -> Any:
        return (await self._rows(statement))[0][0]
