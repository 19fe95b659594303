"""A server with videos of drawn scenes in it, and a worker with the bundled model that answers searches."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from models.frame_stats import FrameStats
from models.training.scenes import Background, Object, Scene, render
from pipeline.decode.choice import choose
from pipeline.engine import EngineOptions, LocalEngine
from pipeline.limits import INPUT_LIMITS
from pipeline.synthesis import write_video
from pipeline.toolkit import EMBEDDING, STATS, Toolkit
from serving.jobs.events import WORK_CHANNEL
from serving.jobs.listening import Listener
from serving.jobs.running import Tools
from serving.search.answering import Answerer
from serving.search.asking import QUESTION_CHANNEL
from serving.search.filling import Filler
from serving.worker import Worker
from serving.workers import Presence
from tests.serving.api.conftest import Api, call, url
from tests.serving.conftest import sample_report
from tests.serving.jobs.crashing import loaded

__all__ = ["call", "sample_report", "url"]

SIZE = (192, 144)

#: Title -> takes of three seconds each.
FILMS = {
    "first": ("red circle", "blue square"),
    "second": ("green star", "yellow heart"),
    "third": ("red square",),
}


def picture(name: str) -> np.ndarray:
    """uint8 [H, W, 3]: `red circle` on gray."""
    color, shape = name.split()
    return render(Scene(Background(color="gray"), (Object(shape, color, size=0.6),)), *SIZE)


class Fixed:
    """Models by name; the bundled one by any other."""

    def __init__(self, bundled: Toolkit, **others: Toolkit) -> None:
        self.bundled, self.others = bundled, others

    async def get(self, model: str, also: Sequence[str] = ()) -> Toolkit:
        """See `Toolkits.get`."""
        return self.others.get(model, self.bundled)


@contextmanager
def made_of(encoder) -> Iterator[Toolkit]:
    """A model and an engine while the block lasts."""
    decoding = choose("pyav")
    options = EngineOptions(decode_threads=1, torch_threads=1, batch_size=8)
    engine = LocalEngine({EMBEDDING: encoder, STATS: FrameStats()}, decoding.decoder, options)
    yield Toolkit(engine=engine, encoder=encoder, decoding=decoding.told)
    engine.close()


@pytest.fixture(scope="session")
def toolkit() -> Iterator[Toolkit]:
    """The bundled model and an engine."""
    with made_of(loaded()) as made:
        yield made


@pytest.fixture(scope="session")
def films(tmp_path_factory) -> dict[str, Path]:
    """Title -> a video of scenes that the model knows."""
    folder = tmp_path_factory.mktemp("films")
    return {
        title: write_video(folder / f"{title}.mp4", [picture(take) for take in takes for _ in range(12)], fps=4)
        for title, takes in FILMS.items()
    }


@asynccontextmanager
async def worked(api: Api, toolkit: Toolkit | Fixed, *, filling: bool = True) -> AsyncIterator[None]:
    """A worker at work while the block lasts. `filling`: whether it fills spaces, too."""
    stop, database = asyncio.Event(), api.world.database
    toolkits = toolkit if isinstance(toolkit, Fixed) else Fixed(toolkit)
    async with Listener(database.url, (WORK_CHANNEL, QUESTION_CHANNEL)) as listener:
        worker = Worker(Tools(api.world.queue, api.store, toolkits), slots=1, listener=listener)
        presence = Presence(database, worker.name, slots=1, busy=lambda: 0, models=lambda: (), changed=asyncio.Event())
        await presence.beat()
        serving = [
            asyncio.create_task(part.serve(stop))
            for part in (
                worker,
                presence,
                Answerer(database, api.store.keyring, toolkits, INPUT_LIMITS, listener),
                *([Filler(database, api.store, toolkits, lease_s=2.0)] if filling else []),
            )
        ]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*serving)


async def analysed(client: httpx.AsyncClient, films: dict[str, Path], **spec) -> dict[str, str]:
    """Title -> id of a video that was uploaded and analysed. `spec`: what is asked for besides."""
    ids, jobs = {}, []
    for title, path in films.items():
        made = await client.post("/v1/videos", params={"filename": f"{title}.mp4"}, content=path.read_bytes())
        assert made.status_code in (200, 201), made.text
        ids[title] = made.json()["id"]
        job = await client.post("/v1/jobs", json={"video_id": ids[title], "spec": {"sampling": {"fps": 2.0}, **spec}})
        jobs.append(job.json()["id"])
    for job in jobs:
        done = await client.get(f"/v1/jobs/{job}")
        while done.json()["state"] not in ("succeeded", "failed", "canceled"):
            await asyncio.sleep(0.05)
            done = await client.get(f"/v1/jobs/{job}")
        assert done.json()["state"] == "succeeded", done.text
    return ids


async def found(client: httpx.AsyncClient, *query: dict, **more) -> dict:
    """The answer to a search."""
    answer = await client.post("/v1/search", json={"query": list(query), **more})
    assert answer.status_code == 200, answer.text
    return answer.json()
