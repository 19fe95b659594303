"""Jobs while workers and API processes are killed, workers stopped and woken up again, and the database is restarted.

    python -m tests.serving.jobs.chaos [--jobs 1000] [--workers 4] [--kills 200] [--stops 50] [--restarts 10]

Real workers, a real API that jobs come in by, a real PostgreSQL, real videos. Every job has to end well, once, and one
whose worker died has to go on within its lease and five seconds. The short form of this is a test.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from serving.db import embedded, migrate
from serving.db.database import Database
from serving.jobs import submission
from tests.serving.jobs.chaos_count import Outcome, outcome, rows
from tests.serving.jobs.chaos_parts import Client, Processes, insisted, prepared

#: How long a worker may be silent, seconds. A stopped one wakes up after twice as long.
LEASE_S = 2.0

#: Within so long after that, a dead worker's job has to go on, seconds.
PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of what."""

    jobs: int
    workers: int
    kills: int
    stops: int
    restarts: int
    apis: int = 2
    seed: int = 0


@dataclass(slots=True)
class Blows:
    """What is done to them, and whose jobs it struck."""

    processes: Processes
    database: Database
    rng: random.Random
    struck: list[tuple[str, float]]
    """Job, and when its worker was killed or stopped, seconds since 1970."""
    api_kills: int = 0
    zombies: int = 0

    async def kill(self) -> None:
        """A worker that has a job, or, one time in five, a process of the API."""
        if self.rng.random() < 0.2:
            self.processes.replace_api(self.rng.choice(list(self.processes.apis)))
            self.api_kills += 1
        else:
            pid = await self._busy()
            await self._strike(pid)
            self.processes.replace_worker(pid)

    async def stop(self) -> None:
        """Stop a worker for longer than its lease, and let it go on."""
        pid = await self._busy()
        await self._strike(pid)
        os.kill(pid, signal.SIGSTOP)
        self.zombies += 1
        await asyncio.sleep(2 * LEASE_S)
        if pid in self.processes.workers:
            os.kill(pid, signal.SIGCONT)

    async def _busy(self) -> int:
        found = await rows(self.database, "SELECT DISTINCT worker FROM job WHERE state = 'running'")
        having = [pid for pid in self.processes.workers if any(row.worker.endswith(f"_{pid}") for row in found)]
        return self.rng.choice(having or self.processes.workers)

    async def _strike(self, pid: int) -> None:
        query = f"SELECT id FROM job WHERE state = 'running' AND worker LIKE '%\\_{pid}'"
        jobs = [row.id for row in await rows(self.database, query)]
        self.struck += [(job, time.time()) for job in jobs]


async def run(plan: Plan, url: str, folder: Path, restart) -> Outcome:
    """Do it all. `restart` restarts the database at once, connections or not."""
    rng = random.Random(plan.seed)
    database = Database(url, pool_size=4)
    key, films = await prepared(database, folder)
    processes = Processes(url, folder, LEASE_S)
    blows = Blows(processes, database, rng, [])
    began = time.monotonic()
    retried = 0
    waking: set[asyncio.Task[None]] = set()
    try:
        for _ in range(plan.workers):
            processes.start_worker()
        for _ in range(plan.apis):
            processes.start_api()
        async with Client(processes, key) as client:
            posting = asyncio.create_task(client.post_jobs(films, plan.jobs))
            todo = ["kill"] * plan.kills + ["stop"] * plan.stops + ["restart"] * plan.restarts
            total = len(todo)
            rng.shuffle(todo)
            while True:
                done, quarantined = await _look(database)
                for job in quarantined:
                    await insisted(submission.retry, database, "a", job)
                    retried += 1
                if done >= plan.jobs and posting.done():
                    break
                # Spread over the jobs: so many blows as are due when so many are done.
                if todo and (total - len(todo)) * plan.jobs <= done * total:
                    blow = todo.pop()
                    if blow == "restart":
                        await asyncio.to_thread(restart)
                    elif blow == "kill":
                        await blows.kill()
                    else:
                        waking.add(asyncio.create_task(blows.stop()))
                await asyncio.sleep(rng.uniform(0.02, 0.2))
            await posting
            await asyncio.gather(*waking)
        # What a zombie would still write, it writes now.
        await asyncio.sleep(2 * LEASE_S)
        return await outcome(
            database,
            struck=blows.struck,
            refused=folder / "refused",
            retried=retried,
            api_kills=blows.api_kills,
            zombies=blows.zombies,
            wall_s=time.monotonic() - began,
        )
    finally:
        processes.close()
        await database.close()


async def _look(database: Database) -> tuple[int, list[str]]:
    found = await rows(database, "SELECT id, state FROM job WHERE state IN ('succeeded', 'failed', 'canceled')")
    return sum(row.state == "succeeded" for row in found), [row.id for row in found if row.state == "failed"]


def wrong(plan: Plan, found: Outcome) -> list[str]:
    """What is not as it has to be, in words."""
    once = (found.reports, found.succeeded_events, found.messages) == (plan.jobs,) * 3
    held = {
        f"all {plan.jobs} jobs succeed: {found.states}": found.states == {"succeeded": plan.jobs},
        f"each once: {found.reports=}, {found.succeeded_events=}, {found.messages=}": once,
        f"events are numbered without gaps: {found.broken_numbers=}": found.broken_numbers == 0,
        f"somebody died at work: {found.deaths=}": found.deaths > 0,
        # A worker that is stopped may have nothing to do by then, or be killed before it wakes up.
        f"late writes were refused: {found.refused=}": found.refused > 0 or plan.stops < 10,
        f"jobs go on in time: {found.slowest_restart_s=}": found.slowest_restart_s <= LEASE_S + PATIENCE_S,
    }
    return [what for what, holds in held.items() if not holds]


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, count in (("jobs", 1000), ("workers", 4), ("kills", 200), ("stops", 50), ("restarts", 10), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=count)
    plan = Plan(**vars(parser.parse_args()))
    with tempfile.TemporaryDirectory() as folder, embedded.embedded(Path(folder) / "postgres") as url:
        migrate.upgrade(url)
        found = asyncio.run(run(plan, url, Path(folder), lambda: embedded.restart(Path(folder) / "postgres")))
    print(json.dumps({"plan": asdict(plan), "outcome": asdict(found)}, indent=1))
    for what in wrong(plan, found):
        print(f"NOT SO: {what}")
    return 1 if wrong(plan, found) else 0


if __name__ == "__main__":
    sys.exit(main())
