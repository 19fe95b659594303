"""Jobs while workers are killed, stopped and woken up again, and the database is restarted.

    python -m tests.serving.jobs.chaos [--jobs 1000] [--workers 4] [--kills 200] [--stops 50] [--restarts 10]

Real workers, a real PostgreSQL, real videos. Every job has to end well, once. The short form of this is a test.
"""

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from pipeline.spec import AnalysisSpec, Sampling
from pipeline.synthesis import Encoding, write_video
from serving.db import embedded, migrate
from serving.db.accounts import Tenant
from serving.db.database import SYSTEM, Database
from serving.db.media import Video
from serving.db.statements import execute
from serving.db.work import Endpoint
from serving.errors import DatabaseUnavailable
from serving.jobs import submission
from serving.jobs.submission import JobRequest
from serving.storage.store import Store
from tests.formats.chart import moments

ROOT = Path(__file__).parents[3]

#: How long a worker may be silent, seconds. A stopped one wakes up after twice as long.
LEASE_S = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of what."""

    jobs: int
    workers: int
    kills: int
    stops: int
    restarts: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    states: dict[str, int]
    """State -> jobs, in the end."""
    reports: int
    succeeded_events: int
    broken_numbers: int
    """Jobs whose events have a gap or a repeat."""
    messages: int
    deaths: int
    retried: int
    """Jobs that three workers died over, which an operator has to start again."""
    slowest_restart_s: float
    """Longest time from the end of a dead worker's lease to the next claim."""
    wall_s: float


class Workers:
    """Forks of one process that has everything imported, see `crashing`."""

    def __init__(self, url: str, folder: Path) -> None:
        command = (sys.executable, "-m", "tests.serving.jobs.working", url, str(folder), str(LEASE_S))
        self._parent = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pids: list[int] = []

    def start(self) -> int:
        """One more; its process id."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write("fork\n")
        self._parent.stdin.flush()
        pid = int(self._parent.stdout.readline())
        self.pids.append(pid)
        return pid

    def replace(self, pid: int) -> None:
        """Kill one, and start another."""
        os.kill(pid, signal.SIGKILL)
        self.pids.remove(pid)
        self.start()

    def close(self) -> None:
        """End all of them."""
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
        assert self._parent.stdin is not None
        self._parent.stdin.close()
        self._parent.wait()


async def run(plan: Plan, url: str, folder: Path, restart) -> Outcome:
    """Do it all. `restart` restarts the database at once, connections or not."""
    rng = random.Random(plan.seed)
    database = Database(url, pool_size=4)
    await _submit(database, plan, folder)
    workers = Workers(url, folder)
    began = time.monotonic()
    retried = 0
    try:
        for _ in range(plan.workers):
            workers.start()
        blows = ["kill"] * plan.kills + ["stop"] * plan.stops + ["restart"] * plan.restarts
        total = len(blows)
        rng.shuffle(blows)
        waking: list[asyncio.Task[None]] = []
        while True:
            open_jobs, quarantined = await _look(database)
            for job in quarantined:
                await _insist(submission.retry, database, "a", job)
                retried += 1
            if not open_jobs and not quarantined:
                break
            # Spread over the jobs: so many blows as are due when so many are done.
            if blows and (total - len(blows)) * plan.jobs <= (plan.jobs - open_jobs) * total:
                blow = blows.pop()
                if blow == "restart":
                    await asyncio.to_thread(restart)
                elif blow == "kill":
                    workers.replace(await _busy(database, workers, rng))
                else:
                    waking.append(asyncio.create_task(_stopped(workers, await _busy(database, workers, rng))))
            await asyncio.sleep(rng.uniform(0.02, 0.2))
        for blow in waking:
            await blow
        # What a zombie would still write, it writes now.
        await asyncio.sleep(2 * LEASE_S)
        return await _outcome(database, retried, time.monotonic() - began)
    finally:
        workers.close()
        await database.close()


async def _busy(database: Database, workers: Workers, rng: random.Random) -> int:
    """A worker that has a job, if any has one."""
    rows = await _insist(_rows, database, text("SELECT DISTINCT worker FROM job WHERE state = 'running'"))
    having = [pid for pid in workers.pids if any(row.worker.endswith(f"_{pid}") for row in rows)]
    return rng.choice(having or workers.pids)


async def _stopped(workers: Workers, pid: int) -> None:
    """Stop a worker for longer than its lease, and let it go on."""
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(2 * LEASE_S)
    if pid in workers.pids:
        os.kill(pid, signal.SIGCONT)


async def _submit(database: Database, plan: Plan, folder: Path) -> None:
    films = [write_video(folder / f"film{n}.mp4", moments(12 + n), fps=12, encoding=Encoding(gop=6)) for n in range(4)]
    store = Store(folder / "objects")
    async with database.write("tenant.create", SYSTEM) as session:
        session.add(Tenant(id="a", name="a"))
        await session.flush()
        session.add(Endpoint(id="whk_1", tenant_id="a", url="https://example.com", secret="whsec_x"))
    requests = []
    for number in range(plan.jobs):
        film = films[number % len(films)]
        key = f"videos/{film.stem}"
        if number < len(films):

            async def chunks(film=film):
                yield film.read_bytes()

            await store.put(key, chunks())
            async with database.write("upload.complete", "a") as session:
                session.add(
                    Video(id=film.stem, tenant_id="a", title="x", size_bytes=1, sha256=film.stem, object_key=key)
                )
        # Each has features of its own, or most would be shared.
        spec = AnalysisSpec(model="bundled", sampling=Sampling(fps=4.0, tolerance_s=0.5 + number / 1e6))
        requests.append(JobRequest(video_id=film.stem, spec=spec))
    for first in range(0, len(requests), 100):
        await submission.submit(database, "a", requests[first : first + 100])


async def _look(database: Database) -> tuple[int, list[str]]:
    query = text("SELECT id, state FROM job WHERE state IN ('queued', 'running', 'failed')")
    rows = await _insist(_rows, database, query)
    return sum(row.state != "failed" for row in rows), [row.id for row in rows if row.state == "failed"]


async def _rows(database: Database, query) -> Sequence:
    async with database.read(SYSTEM) as session:
        return (await execute(session, query)).all()


async def _insist(what, *arguments):
    """As a client would: again, while the database is away."""
    while True:
        try:
            return await what(*arguments)
        except DatabaseUnavailable:
            await asyncio.sleep(0.2)


async def _outcome(database: Database, retried: int, wall_s: float) -> Outcome:
    async def one(query: str):
        return (await _insist(_rows, database, text(query)))[0][0]

    states = Counter(row.state for row in await _insist(_rows, database, text("SELECT state FROM job")))
    numbers = "SELECT count(*) AS n FROM (SELECT job_id FROM event GROUP BY job_id HAVING count(*) <> max(number)) x"
    waits = """
        SELECT max(extract(epoch FROM claimed.created_at - lost.created_at)) FROM event lost JOIN event claimed
        ON claimed.job_id = lost.job_id AND claimed.number = lost.number + 1
        WHERE lost.data->>'reason' = 'worker_lost' AND claimed.kind = 'running'
    """
    return Outcome(
        states=dict(states),
        reports=await one("SELECT count(*) FROM report"),
        succeeded_events=await one("SELECT count(*) FROM event WHERE kind = 'succeeded'"),
        broken_numbers=await one(numbers),
        messages=await one("SELECT count(*) FROM webhook_message WHERE type = 'job.succeeded'"),
        deaths=await one("SELECT coalesce(sum(deaths), 0) FROM job"),
        retried=retried,
        slowest_restart_s=float(await one(waits) or 0.0),
        wall_s=round(wall_s, 1),
    )


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, count in (("jobs", 1000), ("workers", 4), ("kills", 200), ("stops", 50), ("restarts", 10), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=count)
    plan = Plan(**vars(parser.parse_args()))
    with tempfile.TemporaryDirectory() as folder, embedded.embedded(Path(folder) / "postgres") as url:
        migrate.upgrade(url)
        outcome = asyncio.run(run(plan, url, Path(folder), lambda: embedded.restart(Path(folder) / "postgres")))
    print(plan)
    print(outcome)
    good = outcome.states == {"succeeded": plan.jobs}
    once = outcome.reports == outcome.succeeded_events == outcome.messages == plan.jobs
    return 0 if good and once and not outcome.broken_numbers else 1


if __name__ == "__main__":
    sys.exit(main())
