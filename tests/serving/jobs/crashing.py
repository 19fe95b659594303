"""A client and a worker in one process that can be made to die at any durable write.

    python -m tests.serving.jobs.crashing URL FOLDER

Reads lines `DATABASE POINT` from stdin, forks for each, and prints how the fork ended. What takes long to import is
imported and loaded once; nothing before the fork makes threads, which would be lost in it.
"""

import asyncio
import gc
import os
import sys
import traceback
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import torch

from models import catalog
from models.frame_stats import FrameStats
from pipeline.clips import Clip
from pipeline.decode.choice import choose
from pipeline.engine import EngineOptions, LocalEngine
from pipeline.frames import ClipOutput
from pipeline.spec import AnalysisSpec, Sampling
from pipeline.toolkit import EMBEDDING, STATS, Toolkit
from serving.db import failpoints
from serving.db.database import Database
from serving.db.embedded import named
from serving.jobs import progress, submission
from serving.jobs.queue import Queue
from serving.jobs.running import Tools
from serving.jobs.submission import JobRequest
from serving.storage.store import Store
from serving.uploads import receive
from serving.worker import Worker
from tests.serving.jobs import changing
from tests.serving.sealing import store_at

#: Databases whose names begin so are for the story of `changing`.
CHANGES = "changes_"

#: So short that a dead worker's job is another's within a test.
LEASE_S = 1.0

SPEC = AnalysisSpec(model="bundled", sampling=Sampling(fps=4.0))


class Unhurried(LocalEngine):
    """Takes its time over each chain, the longer the later it is: so that there is progress to tell, something to keep
    more than once, and a lease to renew, however fast the machine is."""

    async def run(self, clip: Clip) -> ClipOutput:
        """See `Engine.run`."""
        await asyncio.sleep(0.25 * (1 + clip.chain))
        return await super().run(clip)


class OneToolkit:
    """The bundled model, decoding in this process: what is tested here is what is written, not who reads."""

    def __init__(self, encoder) -> None:
        decoding = choose("pyav")
        options = EngineOptions(decode_threads=1, torch_threads=1, batch_size=2)
        self.engine = Unhurried({EMBEDDING: encoder, STATS: FrameStats()}, decoding.decoder, options)
        self._toolkit = Toolkit(engine=self.engine, encoder=encoder, decoding=decoding.told)

    async def get(self, model: str, also: Sequence[str] = ()) -> Toolkit:
        """See `Toolkits.get`."""
        return self._toolkit


def loaded():
    """The bundled model, loaded without making any threads."""
    torch.set_num_threads(1)
    return catalog.load("bundled").model


async def story(url: str, store: Store, video: Path, encoder) -> None:
    """All that a client wants, tried until it is there: as often as it is told, it comes to the same."""
    database = Database(url, pool_size=4)
    toolkits = OneToolkit(encoder)

    async def chunks() -> AsyncIterator[bytes]:
        yield video.read_bytes()

    try:
        received = await receive.whole(database, store, "a", chunks(), filename="film.mp4")
        request = JobRequest(video_id=received.video.id, spec=SPEC)
        ((made),) = await submission.submit(database, "a", [request], key="once")
        stop = asyncio.Event()
        worker = Worker(Tools(Queue(database, store.keyring, lease_s=LEASE_S), store, toolkits), slots=1)
        working = asyncio.create_task(worker.serve(stop))
        while True:
            async with database.read("a") as session:
                job = await submission.find(session, "a", made.job.id)
            if job.state not in ("queued", "running"):
                break
            await asyncio.sleep(0.05)
        stop.set()
        await working
    finally:
        toolkits.engine.close()
        await database.close()


def main() -> None:
    """Serve until stdin ends."""
    server, folder = sys.argv[1], Path(sys.argv[2])
    encoder = loaded()
    # An app imports much at its first making: not in each fork.
    changing.made(server, store_at(folder / "nothing"))
    gc.freeze()
    for line in sys.stdin:
        name, _, point = line.strip().partition(" ")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                # Every Clip is kept at once, so that there is something to lose.
                progress.EVERY_S = 0.02
                if point:
                    os.environ[failpoints.VARIABLE] = point
                url, store, film = named(server, name), store_at(folder / name), folder / "film.mp4"
                if name.startswith(CHANGES):
                    asyncio.run(changing.story(url, store, film, folder / f"{name}.diary"))
                else:
                    asyncio.run(story(url, store, film, encoder))
                code = 0
            except Exception:  # noqa: BLE001 - the fork may not go on as its parent, whatever happened
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
