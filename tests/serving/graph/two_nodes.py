"""Two Ray nodes on this machine, an engine's replica on each, and a video whose Clips go to both, of which one dies.

    python -m tests.serving.graph.two_nodes [--silent]

The first node has the storage and what does a worker's part: it reads the video, cuts Clips and sends them. The second
one is started in an empty folder, with nothing in its environment that says where anything is: what its replica knows
of the video, it was sent. In the middle of the video all of the second node is killed, its raylet first; or, with
`--silent`, stopped, so that it just says nothing any more, as a machine whose cable is pulled. The report has to be
that of an engine in this process all the same. Prints what came of it as JSON.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import psutil

from pipeline.analyze import analyze
from pipeline.clips import Clip
from pipeline.engine import Engine
from pipeline.frames import ClipOutput
from pipeline.report import Report
from pipeline.spec import AnalysisSpec, Sampling
from pipeline.synthesis import Encoding, write_video
from serving.graph import messages
from serving.graph.calling import Remote
from serving.graph.cluster import cluster
from serving.local import local_toolkit
from tests.formats.chart import moments
from tests.serving.commands import environment
from tests.serving.graph.drill_node import nodes
from tests.serving.graph.reports import same, toolkits

#: Every picture, so that each Clip is work.
SPEC: Final = AnalysisSpec(model="bundled", sampling=Sampling(fps=12.0))

#: How long a video may take to be over, seconds.
_PATIENCE_S: Final = 240.0

#: The node is struck once as many Clips have come back from each replica.
_EACH: Final = 2

_FRAMES: Final = 480


@dataclass(slots=True)
class Told:
    """What came of it."""

    spread: tuple[int, int] = (0, 0)
    """Clips of the undisturbed video that each node's replica answered: the first one's, the second one's."""
    clips: int = 0
    """Of the disturbed video."""
    here: int = 0
    """Requests of Clips that the first node's replica had answered by the time of the blow."""
    elsewhere: int = 0
    """The second node's."""
    clips_before: int = 0
    """Clips whose answer was there by then."""
    frames_shipped: int = 0
    largest_request: int = 0
    """Bytes."""
    known_elsewhere: list[str] = field(default_factory=list)
    """What processes of the second node had of the storage: open files, folders, words in their environment."""
    undisturbed_s: float = 0.0
    """Of the video on both nodes, with nobody killed."""
    disturbed_s: float = 0.0
    resent: dict[str, int] = field(default_factory=dict)
    """Why requests of Clips were sent again -> how often."""
    differences: list[str] = field(default_factory=list)
    """Between the reports and that of an engine in this process."""
    wall_s: float = 0.0


class Watched:
    """An engine; `blow` comes once, while a Clip is out at the node that it strikes."""

    def __init__(self, engine: Engine, told: Told, storage: Path, blow: "_Blow") -> None:
        self._engine, self._told, self._storage, self._blow = engine, told, storage, blow
        self._lock = asyncio.Lock()
        self._struck = False

    async def run(self, clip: Clip) -> ClipOutput:
        """See `Engine.run`."""
        self._told.clips += 1
        sent = messages.encode(messages.RunClip(clip=clip, model="bundled", identity=""))
        self._told.largest_request = max(self._told.largest_request, len(sent))
        if os.fsencode(self._storage) in sent:
            self._told.known_elsewhere.append(f"a Clip names {self._storage}")
        async with self._lock:
            strikes = not self._struck and await self._blow.aimed()
            self._struck |= strikes
        out = asyncio.create_task(self._engine.run(clip))
        try:
            if strikes:
                # By then it is there, and not done yet.
                await asyncio.sleep(0.01)
                self._blow.strike()
            output = await out
        except BaseException:
            out.cancel()
            raise
        self._told.clips_before += not self._struck
        return output

    async def check(self) -> None:
        """See `Engine.check`."""
        await self._engine.check()


def run(folder: Path, number: int = signal.SIGKILL) -> Told:
    """Do it all. This process must not have imported Ray.

    Args:
        folder: one whose path is short.
        number: what all processes of the second node are sent.
    """
    began = time.monotonic()
    storage = folder / "storage"
    storage.mkdir()
    film = write_video(storage / "film.mp4", moments(_FRAMES, width=640, height=384), fps=12, encoding=Encoding(gop=24))
    around = cluster(folder / "data", b"s" * 32)
    os.environ.clear()
    os.environ.update(around.environment(environment({})))
    told = Told()

    async def expected() -> Report:
        with local_toolkit("bundled") as toolkit:
            return await analyze(film, SPEC, toolkit)

    wanted = asyncio.run(expected())
    with nodes(around.temporary, folder) as (handle, second):
        for disturbed in (False, True):
            started = time.monotonic()
            strikes = (second, number) if disturbed else None
            report = asyncio.run(_analysed(handle, film, told, storage, strikes))
            taken_s = round(time.monotonic() - started, 2)
            if disturbed:
                told.disturbed_s = taken_s
            else:
                told.undisturbed_s = taken_s
            try:
                same(report, wanted)
            except AssertionError as error:
                told.differences.append(f"{disturbed = }: {error}")
    told.wall_s = round(time.monotonic() - began, 1)
    return told


class _Blow:
    """Strikes the second node, once both replicas have answered some Clips."""

    def __init__(self, remote: Remote, second: "subprocess.Popen[str]", storage: Path, told: Told, number: int) -> None:
        """`remote`: the engine; its next Clip goes to the second node, once this is `aimed`."""
        self._remote, self._second, self._storage = remote, second, storage
        self._told, self._number = told, number
        self._before: dict[int, int] | None = None
        self._theirs: list[psutil.Process] = []
        self._aim = ""
        ask = remote.ask

        async def aiming(method: str, request: bytes, *, pin: str = "", again: bool = True) -> bytes:
            if method == "run" and not pin:
                pin, self._aim = self._aim, ""
            return await ask(method, request, pin=pin, again=again)

        remote.ask = aiming
        remote._resent = lambda reason: told.resent.update({reason: told.resent.get(reason, 0) + 1})

    async def aimed(self) -> bool:
        """Whether it is time."""
        replicas = await self._remote.descriptions()
        now = {one.pid: one.handled.requests for one in replicas}
        if self._before is None:
            self._before = now
            theirs = {process.pid for process in psutil.Process(self._second.pid).children(recursive=True)}
            there = sum(count for pid, count in now.items() if pid in theirs)
            self._told.spread = sum(now.values()) - there, there
        done = {pid: count - self._before[pid] for pid, count in now.items()}
        if len(done) < 2 or min(done.values()) < _EACH:
            return False
        self._theirs = psutil.Process(self._second.pid).children(recursive=True)
        (struck,) = [one for one in replicas if one.pid in {process.pid for process in self._theirs}]
        self._aim = struck.replica
        told = self._told
        told.elsewhere = done[struck.pid]
        told.here = sum(done.values()) - told.elsewhere
        told.frames_shipped = sum(one.handled.frames_shipped for one in replicas)
        told.known_elsewhere += _known(self._theirs, self._storage)
        return True

    def strike(self) -> None:
        """The raylet first: nobody of the node is left who could say anything about the others."""
        for process in sorted(self._theirs, key=lambda one: one.name() != "raylet"):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(self._number)


async def _analysed(
    handle: Any, film: Path, told: Told, storage: Path, strikes: "tuple[subprocess.Popen[str], int] | None"
) -> Report:
    """The report, through both replicas. `strikes`: the node that is struck meanwhile, and the signal."""
    async with toolkits(handle) as graph:
        toolkit = await graph.get("bundled")
        if strikes is not None:
            blow = _Blow(graph._engines["default"], strikes[0], storage, told, strikes[1])
            toolkit = replace(toolkit, engine=Watched(toolkit.engine, told, storage, blow))
        async with asyncio.timeout(_PATIENCE_S):
            return await analyze(film, SPEC, toolkit)


def _known(processes: list[psutil.Process], storage: Path) -> Iterator[str]:
    """What these have of the storage."""
    for process in processes:
        with contextlib.suppress(OSError):
            place = Path(f"/proc/{process.pid}")
            words = (place / "environ").read_bytes() + (place / "cmdline").read_bytes()
            links = [os.readlink(link) for link in (place / "cwd", *(place / "fd").iterdir())]
            if os.fsencode(storage) in words or any(link.startswith(str(storage)) for link in links):
                yield f"{process.pid} {process.name()}"


def main() -> int:
    """Print what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--silent", action="store_true")
    number = signal.SIGSTOP if parser.parse_args().silent else signal.SIGKILL
    folder = Path(tempfile.mkdtemp(prefix="two-"))
    try:
        told = run(folder, number)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(asdict(told)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
