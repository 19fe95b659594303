"""A server with its graph, of which one process after the other is killed while jobs run and somebody asks the API.

    python -m tests.serving.graph.drill [--times 20] [--kinds engine worker ...] [--engines 1] [--period 2] [--out FILE]

A real `automations serve` over a real PostgreSQL, real videos, `kill -9`: of an engine's replica, of a worker's, of
Serve's controller, of its proxy, of a process that decodes, and of what Ray cannot do without (in turn the store of its
state, the process that starts all others, and our own that starts these). Each blow comes when all is as before the one
before it. No job may be lost or done twice, every report has to be that of an undisturbed job, and the API has to
answer everything meanwhile. The short form of this is a test.
"""

import argparse
import asyncio
import contextlib
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import httpx

from serving.db.database import Database
from tests.serving.graph.drill_count import Blow, Outcome, difference, outcome
from tests.serving.graph.drill_load import Load, Posted
from tests.serving.graph.drill_server import PERIOD_S, Server, film, kill, ready, serving

#: Kind of blow -> processes of `drill_server` that it strikes, in turn.
KINDS: Final = {
    "engine": ("engine",),
    "worker": ("worker",),
    "controller": ("controller",),
    "proxy": ("proxy",),
    "decoder": ("decoder",),
    "head": ("gcs_server", "raylet", "graph.head"),
}

#: How long it may take until all is as before, and until all jobs are over in the end, seconds. For the test, it is as
#: long as on a machine that has many other things to do.
_RECOVER_S, _OVER_S = 300.0, 600.0

#: For somebody to be there who can be struck, while a job runs, seconds.
_TARGET_S: Final = 120.0

#: A blow comes so long after a job was seen to run, at most, seconds.
_CHANCE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of what."""

    times: int
    kinds: tuple[str, ...] = tuple(KINDS)
    engines: int = 1
    period_s: float = PERIOD_S
    """See `drill_server.serving`, as for `engines`."""
    seed: int = 0


@dataclass(slots=True)
class Drill:
    """One that goes on."""

    server: Server
    load: Load
    rng: random.Random
    say: Callable[[str], None]
    blows: list[Blow]

    async def strike(self, kind: str) -> None:
        """Kill one, and wait until all is as before; what is not in time is missing in the blow."""
        what = KINDS[kind][sum(blow.kind == kind for blow in self.blows) % len(KINDS[kind])]
        while True:
            victim = await self._victim(what)
            before = await asyncio.to_thread(self.server.find, what)
            running = sum(job.state == "running" for job in self.load.jobs)
            at = time.monotonic()
            if running and kill(victim):
                break
        blow = Blow(kind, what, at, running)
        self.blows.append(blow)

        async def successor() -> bool:
            return bool(set(await asyncio.to_thread(self.server.find, what)) - set(before))

        async def probed() -> bool:
            return job.state == "succeeded"

        async def there_again() -> tuple[float | None, float | None]:
            # One that is struck may answer for another half second.
            back_s = await self._after(blow, successor, kind != "decoder")
            return back_s, await self._after(blow, self._embedded)

        job = await self.load.post()
        blow.job_s, (blow.back_s, blow.text_s) = await asyncio.gather(self._after(blow, probed), there_again())
        blow.until = time.monotonic()
        self.server.require_alive()
        moment = time.strftime("%H:%M:%S")
        self.say(f"{moment} {kind} ({what}): job {blow.job_s} s, text {blow.text_s} s, back {blow.back_s} s")

    async def settled(self) -> None:
        """Wait until all jobs are over, with no more of them to come."""
        self.load.posting = False
        end = time.monotonic() + _OVER_S
        while any(not job.over for job in self.load.jobs) and time.monotonic() < end:
            self.server.require_alive()
            await asyncio.sleep(0.2)

    async def _victim(self, what: str) -> int:
        """One that is there while a job runs, at a moment of chance."""
        end = time.monotonic() + _TARGET_S
        while time.monotonic() < end:
            self.server.require_alive()
            if any(job.state == "running" for job in self.load.jobs):
                await asyncio.sleep(self.rng.uniform(0, _CHANCE_S))
                if found := await asyncio.to_thread(self.server.find, what):
                    return self.rng.choice(found)
            await asyncio.sleep(0.05)
        raise AssertionError(f"no {what} while a job ran, for {_TARGET_S:g} s: {self.server.last_words()}")

    async def _embedded(self) -> bool:
        try:
            return await self.load.texts_are_embedded()
        except httpx.TransportError:
            return False

    async def _after(self, blow: Blow, done: Callable[[], Awaitable[bool]], wanted: bool = True) -> float | None:
        """Seconds from the blow on; None: it did not come about in time."""
        while wanted and time.monotonic() < blow.at + _RECOVER_S:
            if await done():
                return round(time.monotonic() - blow.at, 2)
            await asyncio.sleep(0.1)
        return None


async def run(plan: Plan, server: Server, folder: Path, say: Callable[[str], None] = print) -> Outcome:
    """Do it all at a server whose API takes jobs; ends it."""
    async with contextlib.AsyncExitStack() as held:
        load = Load(await held.enter_async_context(server.client()))
        await load.upload([await asyncio.to_thread(film, folder, number) for number in range(2)])
        await asyncio.to_thread(ready, server)
        drill = Drill(server, load, random.Random(plan.seed), say, [])
        async with load:
            expected = await _undisturbed(drill)
            say("jobs run")
            for _ in range(plan.times):
                for kind in plan.kinds:
                    await drill.strike(kind)
            await drill.settled()
        for job in load.jobs:
            if job.state == "succeeded":
                why = await asyncio.to_thread(difference, await load.report(job), expected[job.film])
                load.different |= {} if why is None else {job.id: why}
        left = await asyncio.to_thread(server.end)
        database = Database(server.database_url, pool_size=1)
        try:
            return await outcome(load, drill.blows, database, left)
        finally:
            await database.close()


async def _undisturbed(drill: Drill) -> dict[int, bytes]:
    """Film -> the report of a job of it that ended before anything was killed."""
    end = time.monotonic() + _OVER_S
    while time.monotonic() < end:
        drill.server.require_alive()
        found: dict[int, Posted] = {job.film: job for job in drill.load.jobs if job.over}
        failed = [job.id for job in found.values() if job.state != "succeeded"]
        assert not failed, f"jobs fail before anything was killed: {failed}: {drill.server.last_words()}"
        if len(found) == len(drill.load.films):
            return {number: await drill.load.report(job) for number, job in found.items()}
        await asyncio.sleep(0.2)
    raise AssertionError(f"no job of each film within {_OVER_S:g} s: {drill.server.last_words()}")


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--engines", type=int, default=1)
    parser.add_argument("--period", type=float, default=PERIOD_S, help="of Serve's checks, seconds; 0: as in cpu.yaml")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    from benchmarks import machine

    # Who is told to end leaves nothing.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    plan = Plan(given.times, tuple(given.kinds), given.engines, given.period, given.seed)
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="drill-") as folder,
        serving(Path(folder), plan.engines, plan.period_s) as server,
    ):
        found = asyncio.run(run(plan, server, Path(folder), lambda line: print(line, flush=True)))
    for row in found.rows:
        print(
            f"{row.kind:11} {row.times:3} times, {row.struck:3} jobs struck, {row.lost} lost, {row.duplicated} twice, "
            f"{row.different} other reports, {row.api_failures} API failures; "
            f"recovery {row.recovery_median_s} s, worst {row.recovery_worst_s} s; "
            f"whole {row.whole_median_s} s, worst {row.whole_worst_s} s"
        )
    wall_s = round(time.monotonic() - began, 1)
    told = {"machine": machine.record(), "plan": asdict(plan), "outcome": asdict(found), "wall_s": wall_s}
    text = json.dumps(told, indent=1)
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
