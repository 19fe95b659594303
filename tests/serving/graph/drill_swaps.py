"""A server whose model is replaced again and again, by good ones and by broken ones, while clients have jobs done.

    python -m tests.serving.graph.drill_swaps [--good 10] [--broken cut-off ...] [--clients 8] [--out FILE]

A real `automations serve` over a real PostgreSQL, real videos, models as files; each swap is an edited Serve YAML and
`automations graph deploy`. No request may fail, every job has to succeed, and every report has to be what exactly one
model makes of the film: the one that it names, and no broken one. Of a broken one, `GET /v1/models` and `automations
models status` have to say why it was not taken, and the one before it has to serve on. The short form of this is a
test.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from models.base import ModelInfo
from serving.db.database import Database
from tests.serving.graph import making
from tests.serving.graph.drill_server import Server, film, put_model, ready, serving
from tests.serving.graph.drill_swaps_count import SwapOutcome, counted
from tests.serving.graph.drill_swaps_load import Crowd
from tests.serving.graph.drill_swaps_seen import Shown, Swap, Unready
from tests.serving.graph.drill_swaps_truth import DTYPE, Truth

WAYS: Final = ("cut-off", "wrong-shape", "not-numbers", "no-memory", "no-package")
"""In which a model is broken, of `making.BROKEN`."""

MODEL: Final = {"source": "bundled", "dtype": DTYPE}
"""What the server begins with, for `drill_server.serving`."""

#: How long a swap, and then a job by what serves, may take, and the last jobs of all clients, seconds: as long as on a
#: machine that has many other things to do.
_SWAP_S, _LAST_S = 240.0, 300.0

#: How often it is looked how a swap goes, seconds.
_LOOK_S: Final = 0.3

#: Pictures of a film, of which there are 8 a second: a job that looks at all of them runs for some seconds.
_PICTURES: Final = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of what; broken ones come in between good ones."""

    good: int = 10
    """At least one."""
    broken: tuple[str, ...] = WAYS
    clients: int = 8

    def kinds(self) -> Iterator[str]:
        """Of the swaps, in their order; see `Swap.kind`."""
        count = len(self.broken)
        for number in range(self.good):
            yield "good"
            yield from self.broken[number * count // self.good : (number + 1) * count // self.good]


class _Model(msgspec.Struct):
    """An entry of `GET /v1/models`."""

    workers: tuple[Shown, ...]


@dataclass(slots=True)
class Drill:
    """One that goes on."""

    server: Server
    crowd: Crowd
    folder: Path
    """For models."""
    good: Iterator[tuple[str, ModelInfo]]
    """Sources of the models that are to come, and what they are."""
    swaps: list[Swap] = field(default_factory=list)
    unready: list[Unready] = field(default_factory=list)

    async def swap(self, kind: str) -> None:
        """Deploy a model, and wait until it is over and a client has had a result; what does not come is missing."""
        before = await self._shown()
        posted = sum(not job.over for job in self.crowd.jobs)
        if kind == "good":
            source, info = next(self.good)
            swap = Swap(kind, before, time.monotonic(), posted, space=info.space, version=info.version)
        else:
            make, says = making.BROKEN[kind]
            source = await asyncio.to_thread(make, self.folder)
            swap = Swap(kind, before, time.monotonic(), posted, says=says)
        self.swaps.append(swap)
        put_model(self.server.config, MODEL | {"source": source})
        deploying = asyncio.create_task(asyncio.to_thread(self.server.command, "graph", "deploy", self.server.config))
        deploying.add_done_callback(lambda _: setattr(swap, "deployed_s", _since(swap)))
        while swap.shown_s is None and _since(swap) < _SWAP_S:
            shown = await self._shown()
            if _is_over(swap, shown):
                swap.shown_s, swap.after = _since(swap), shown
            await asyncio.sleep(_LOOK_S)
        while swap.traffic_s is None and _since(swap) < 2 * _SWAP_S:
            if any(self._carries(swap)):
                swap.traffic_s = _since(swap)
            await self._shown()
            await asyncio.sleep(_LOOK_S)
        done = await deploying
        assert done.returncode == 0, f"it cannot be deployed: {done.stdout}{done.stderr}"
        told = await asyncio.to_thread(self.server.command, "models", "status")
        swap.told, swap.code = told.stdout, told.returncode

    def _carries(self, swap: Swap) -> Iterator[bool]:
        for result in self.crowd.results:
            if result.report is not None:
                spaces = [model.space for model in result.report.models]
                yield spaces == [swap.space] if swap.good else result.job.posted_at > swap.shown_at

    async def _shown(self) -> Shown:
        """How the model is; it is written down when it is not ready."""
        self.server.require_alive()
        self.crowd.require_alive()
        while (answer := await self.crowd.answered(self.crowd.clients[0], "GET", "/v1/models", 200)) is None:
            await asyncio.sleep(_LOOK_S)
        (model,) = msgspec.json.decode(answer.content, type=tuple[_Model, ...])
        (shown,) = model.workers
        if shown.state != "ready" and (not self.unready or self.unready[-1].until is not None):
            self.unready.append(Unready(shown, time.monotonic()))
        elif shown.state == "ready" and self.unready and self.unready[-1].until is None:
            self.unready[-1].until = time.monotonic()
        return shown


async def run(plan: Plan, server: Server, folder: Path, say: Callable[[str], None] = print) -> SwapOutcome:
    """Do it all at a server whose API takes jobs; ends it."""
    films = tuple([await asyncio.to_thread(film, folder, number, _PICTURES) for number in range(plan.clients)])
    truth, models = Truth(films), folder / "models"
    await asyncio.to_thread(truth.add, MODEL["source"])
    sources = [await asyncio.to_thread(making.variant, models, number) for number in range(plan.good)]
    good = [(source, await asyncio.to_thread(truth.add, source)) for source in sources]
    await asyncio.to_thread(ready, server)
    async with contextlib.AsyncExitStack() as held:
        clients = tuple([await held.enter_async_context(server.client()) for _ in range(plan.clients)])
        crowd = Crowd(clients, films, _LAST_S)
        drill = Drill(server, crowd, models, iter(good))
        async with crowd:
            while len({result.client for result in crowd.results}) < plan.clients:
                server.require_alive()
                crowd.require_alive()
                await asyncio.sleep(_LOOK_S)
            say("all clients have had a result")
            for kind in plan.kinds():
                await drill.swap(kind)
                swap = drill.swaps[-1]
                moment = time.strftime("%H:%M:%S")
                say(
                    f"{moment} {kind}: deployed {swap.deployed_s} s, shown {swap.shown_s} s, traffic {swap.traffic_s} s"
                )
    left = await asyncio.to_thread(server.end)
    database = Database(server.database_url, pool_size=1)
    try:
        return await counted(crowd, drill.swaps, drill.unready, truth, database, left)
    finally:
        await database.close()


def _since(swap: Swap) -> float:
    return round(time.monotonic() - swap.at, 2)


def _is_over(swap: Swap, shown: Shown) -> bool:
    if swap.good:
        return shown.space == swap.space
    return shown.swap_error not in (None, swap.before.swap_error)


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--good", type=int, default=10)
    parser.add_argument("--broken", nargs="*", choices=making.BROKEN, default=list(WAYS))
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    from benchmarks import machine

    # Who is told to end leaves nothing.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    plan = Plan(given.good, tuple(given.broken), given.clients)
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="drill-") as folder,
        serving(Path(folder), period_s=0, model=MODEL) as server,
    ):
        found = asyncio.run(run(plan, server, Path(folder), lambda line: print(line, flush=True)))
        outcome = json.dumps(asdict(found)).replace(folder, "FOLDER")
    for row in found.swaps:
        print(
            f"{row.kind:12} {row.version}  {row.posted} jobs posted, deployed {row.deployed_s} s, "
            f"shown {row.shown_s} s, traffic {row.traffic_s} s; {row.results} reports, "
            f"{row.ended_with_the_old} of {row.under_way} under way ended with the old one  {row.cause or ''}"
        )
    wall_s = round(time.monotonic() - began, 1)
    told = {"machine": machine.record(), "plan": asdict(plan), "outcome": json.loads(outcome), "wall_s": wall_s}
    text = json.dumps(told, indent=1)
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
