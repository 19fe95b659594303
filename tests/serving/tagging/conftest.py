"""Libraries of drawn scenes, whose vectors are the bundled model's, and a worker that tags them."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import httpx
import numpy as np

from pipeline.indexing import Index
from pipeline.tags import holding
from pipeline.toolkit import Toolkit
from serving.db.database import SYSTEM
from serving.db.media import Video
from serving.ids import new_id
from serving.jobs.listening import Listener
from serving.search.writing import write_vectors
from serving.tagging.learner import Learner
from serving.tagging.tagger import Tagger
from serving.tagging.writing import TAGGING_CHANNEL
from tests.serving.api.conftest import Api, call, url
from tests.serving.conftest import sample_report
from tests.serving.search.conftest import Fixed, films, picture, toolkit

__all__ = ["call", "films", "sample_report", "toolkit", "url"]

#: What most tests look for.
SHAPES = {
    "name": "shapes",
    "labels": [
        {"name": "a circle", "parent": "round", "aliases": ["disc"]},
        {"name": "a ring", "parent": "round"},
        {"name": "a square"},
        {"name": "a star", "threshold": 0.5},
    ],
}


@asynccontextmanager
async def tagged(api: Api, toolkit: Toolkit, **more) -> AsyncIterator[Tagger]:
    """A worker that tags and learns while the block lasts; it does not wait for more to be said."""
    stop, database, toolkits = asyncio.Event(), api.world.database, Fixed(toolkit)
    async with Listener(database.url, (TAGGING_CHANNEL,)) as listener:
        learner = Learner(database, toolkits, quiet_s=0.0)
        tagger = Tagger(database, toolkits, listener, learner=learner, **more)
        serving = asyncio.create_task(tagger.serve(stop))
        try:
            yield tagger
        finally:
            stop.set()
            await serving


async def library(api: Api, toolkit: Toolkit, films: Mapping[str, Sequence[str]], tenant: str = "a") -> dict[str, str]:
    """Title -> id of a video with a sample a second, of these takes, three samples each: as if it had been analysed."""
    ids, encoder = {}, toolkit.encoder
    for title, takes in films.items():
        vectors = encoder.run(np.stack([picture(take) for take in takes for _ in range(3)]))
        ids[title] = await put(api, toolkit, vectors, tenant, title)
    return ids


async def put(api: Api, toolkit: Toolkit, vectors: np.ndarray, tenant: str = "a", title: str = "film") -> str:
    """A video with these vectors, float32 [N, D], one a second."""
    encoder, count = toolkit.encoder, len(vectors)
    at_s = np.arange(count, dtype=np.float64)
    starts_s, ends_s = holding(at_s, float(count))
    index = Index(
        space=encoder.info.space,
        model="bundled",
        likelihood=encoder.likelihood,
        pts_s=at_s,
        starts_s=starts_s,
        ends_s=ends_s,
        shots=np.zeros(count, np.int64),
        vectors=vectors,
        segments=(),
        segment_vectors=np.zeros((0, vectors.shape[1]), np.float32),
    )
    name = new_id("vid")
    async with api.world.database.write("video.write", SYSTEM) as session:
        more = {"size_bytes": 1, "sha256": name, "object_key": name, "duration_s": float(count)}
        session.add(Video(id=name, tenant_id=tenant, title=title, status="analyzed", **more))
        await session.flush()
        await write_vectors(session, tenant, name, index)
    return name


async def made(client: httpx.AsyncClient, vocabulary: dict = SHAPES) -> str:
    """A vocabulary; its id."""
    answer = await client.post("/v1/vocabularies", json=vocabulary)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def applied(client: httpx.AsyncClient, vocabulary: dict = SHAPES) -> str:
    """A vocabulary that stands for the library by now; its id."""
    which = await made(client, vocabulary)
    answer = await client.post(f"/v1/vocabularies/{which}/apply")
    assert answer.status_code == 202, answer.text
    done = await over(client, answer.json()["id"])
    assert done["state"] == "succeeded", done
    return which


async def over(client: httpx.AsyncClient, tagging: str) -> dict:
    """A run once it is over."""
    while True:
        seen = (await client.get(f"/v1/taggings/{tagging}")).json()
        if seen["state"] not in ("queued", "running"):
            return seen
        await asyncio.sleep(0.02)


async def latest(client: httpx.AsyncClient, **which: str) -> dict:
    """The run that was begun last, once it is over."""
    page = (await client.get("/v1/taggings", params=which)).json()
    return await over(client, page["data"][0]["id"])


async def settled(api: Api) -> None:
    """Wait until nothing is to be tagged or learnt."""
    open_ = (
        "SELECT (SELECT count(*) FROM untagged) + (SELECT count(*) FROM tagging WHERE state IN ('queued', 'running')) "
        "+ (SELECT count(*) FROM learning WHERE state IN ('due', 'running'))"
    )
    while (await api.world.sql(open_))[0][0]:
        await asyncio.sleep(0.02)


async def tags(client: httpx.AsyncClient, video: str, **params: str) -> list[dict]:
    """What a video has."""
    answer = await client.get(f"/v1/videos/{video}/tags", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def names(client: httpx.AsyncClient, video: str, **params: str) -> set[str]:
    """Labels, and categories, of a video."""
    return {tag["label"] for tag in await tags(client, video, **params)}
