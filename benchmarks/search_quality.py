"""Do searches find what is there, say what is not, and mean what they say?

    python -m benchmarks search_quality [--videos 400] [--seeds 9001,9002]

Libraries of drawn scenes that the bundled model knows, whose truth is known, are put into a database; they are asked
over HTTP, and a worker with the model answers. Each video is an entry of its own: results are grouped by video. Queries
are texts (every label that the model knows, pairs of colour and shape that are there and that are not, foreign words)
and pictures of all pairs. Those that are true of no video are *absent*. nDCG counts the first ten whatever their score;
a query is *answered* where anything reaches the default `min_score`, and *missed* where nothing right does. The
calibration error is that of the first ten of all queries. Seeds differ from those that slopes were fitted on.
"""

import argparse
import asyncio
import base64
import io
import json
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import msgspec
import numpy as np
import uvicorn
from PIL import Image

from benchmarks import machine
from benchmarks.corpus import scenes
from models import catalog
from pipeline.calibration import calibration_error
from pipeline.indexing import Index
from pipeline.limits import INPUT_LIMITS
from pipeline.toolkit import Toolkit
from serving.api.app import create_app
from serving.api.search_schema import MIN_SCORE
from serving.auth import opaque
from serving.auth.principals import ROLES
from serving.db import embedded, migrate
from serving.db.accounts import ApiKey, Tenant
from serving.db.database import SYSTEM, Database
from serving.db.media import Video
from serving.ids import new_id
from serving.jobs.listening import Listener
from serving.local import local_toolkit
from serving.options import LimitOptions
from serving.search.answering import Answerer
from serving.search.asking import QUESTION_CHANNEL
from serving.search.writing import write_vectors
from serving.settings import DEFAULTS
from serving.storage.keyring import Keyring
from serving.storage.master import LocalMaster
from serving.storage.store import Store
from serving.workers import Presence

FIRST = 10

GOALS = {"ndcg": 0.95, "answered": 0.05, "missed": 0.05, "calibration_error": 0.05}

_SECRET = b"b" * 32


class OneToolkit:
    """The bundled model."""

    def __init__(self, toolkit: Toolkit) -> None:
        self._toolkit = toolkit

    async def get(self, model: str, also: object = ()) -> Toolkit:
        """See `Toolkits.get`."""
        return self._toolkit


async def stored(database: Database, tenant: str, library: scenes.Library, toolkit: Toolkit) -> list[str]:
    """Put the library in; ids of its videos, in order."""
    ids = [new_id("vid") for _ in library.vectors]
    at_s = np.arange(scenes.SAMPLES, dtype=np.float64)
    async with database.write("video.write", SYSTEM) as session:
        session.add(Tenant(id=tenant, name=tenant))
        await session.flush()
        for number, name in enumerate(ids):
            session.add(
                Video(id=name, tenant_id=tenant, title=f"v{number}", size_bytes=1, sha256=name, object_key=name)
            )
        await session.flush()
        for name, vectors in zip(ids, library.vectors, strict=True):
            index = Index(
                space=toolkit.encoder.info.space,
                model="bundled",
                likelihood=toolkit.encoder.likelihood,
                pts_s=at_s,
                starts_s=at_s,
                ends_s=at_s + 1,
                shots=np.zeros(len(at_s), np.int64),
                vectors=vectors,
                segments=(),
                segment_vectors=np.zeros((0, vectors.shape[1]), np.float32),
            )
            await write_vectors(session, tenant, name, index)
    return ids


async def key_of(database: Database, tenant: str) -> str:
    """A key that may do everything."""
    key = opaque.new_key()
    async with database.write("key.create", tenant) as session:
        digest = opaque.digest(_SECRET, key)
        session.add(
            ApiKey(id=new_id("key"), tenant_id=tenant, name="b", hint="b", digest=digest, scopes=sorted(ROLES["admin"]))
        )
    return key


async def ranked(client: httpx.AsyncClient, part: dict) -> list[tuple[str, float]]:
    """(video, score) of the first results, whatever their score."""
    body = {"query": [part], "group_by": "videos", "min_score": 0.0, "limit": 30}
    answer = await client.post("/v1/search", json=body)
    answer.raise_for_status()
    return [(one["video_id"], one["score"]) for one in answer.json()["data"]]


class Tally:
    """Counts over queries of a kind."""

    def __init__(self) -> None:
        self.ndcg: list[float] = []
        self.missed: list[bool] = []
        self.answered: list[bool] = []
        self.scores: list[float] = []
        self.right: list[bool] = []
        self.wrong: list[str] = []

    def add(self, told: str, results: list[tuple[str, float]], truth: dict[str, int]) -> None:
        """A query: `truth` of each video, 1, -1, or 0 for those that nobody can tell, which are passed over."""
        clear = [(truth[video] == 1, score) for video, score in results if truth[video] != 0]
        there = sum(value == 1 for value in truth.values())
        first = clear[:FIRST]
        self.scores += [score for _, score in first]
        self.right += [right for right, _ in first]
        if there:
            gains = 1.0 / np.log2(np.arange(2, FIRST + 2))
            gained = sum(gain for gain, (right, _) in zip(gains, first, strict=False) if right)
            self.ndcg.append(float(gained / gains[: min(there, FIRST)].sum()))
            self.missed.append(not any(right and score >= MIN_SCORE for right, score in clear))
            if self.missed[-1]:
                self.wrong.append(f"missed: {told}")
        else:
            self.answered.append(any(score >= MIN_SCORE for _, score in clear))
            if self.answered[-1]:
                self.wrong.append(f"answered: {told}")

    def figures(self) -> dict:
        """All of them, shares in 0 to 1."""
        error = calibration_error(np.array(self.scores), np.array(self.right))
        return {
            "present": len(self.ndcg),
            "absent": len(self.answered),
            "ndcg": round(float(np.mean(self.ndcg)), 4),
            "missed": round(float(np.mean(self.missed)), 4),
            "answered": round(float(np.mean(self.answered)), 4),
            "calibration_error": round(error, 4),
            "wrong": self.wrong[:40],
        }


async def ask_all(url: str, toolkit: Toolkit, libraries: list[scenes.Library], folder: Path) -> dict[str, Tally]:
    """All queries of all libraries, each library a tenant's."""
    tallies = {"texts": Tally(), "pictures": Tally()}
    settings = msgspec.structs.replace(DEFAULTS, limits=LimitOptions(requests_per_s=0, unknown_per_s=0))
    async with AsyncExitStack() as stack:
        database = Database(url)
        stack.push_async_callback(database.close)
        listener = await stack.enter_async_context(Listener(url, (QUESTION_CHANNEL,)))
        stop, keyring = asyncio.Event(), Keyring(LocalMaster([bytes(32)]))
        answerer = Answerer(database, keyring, OneToolkit(toolkit), INPUT_LIMITS, listener)
        presence = Presence(
            database, new_id("wrk"), slots=1, busy=lambda: 0, models=lambda: (), changed=asyncio.Event()
        )
        await presence.beat()
        working = [asyncio.create_task(one.serve(stop)) for one in (answerer, presence)]
        app = create_app(Database(url), Store(folder / "objects", keyring), settings, _SECRET)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        for number, library in enumerate(libraries):
            tenant = f"t{number}"
            ids = await stored(database, tenant, library, toolkit)
            headers = {"Authorization": f"Bearer {await key_of(database, tenant)}"}
            address = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=address, headers=headers, timeout=60) as client:
                for at, text in enumerate(library.texts):
                    truth = dict(zip(ids, library.truth[:, at].tolist(), strict=True))
                    tallies["texts"].add(text, await ranked(client, {"text": text}), truth)
                for at, pixels in enumerate(library.pictures):
                    truth = dict(zip(ids, library.picture_truth[:, at].tolist(), strict=True))
                    tallies["pictures"].add(f"picture {at}", await ranked(client, {"image": png(pixels)}), truth)
            print(number, {name: tally.figures() for name, tally in tallies.items()}, flush=True)
        server.should_exit = True
        await serving
        stop.set()
        await asyncio.gather(*working)
    return tallies


def png(pixels: np.ndarray) -> str:
    """A PNG file in base64."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def main(argv: list[str] | None = None) -> int:
    """Entry point; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks.search_quality", description=__doc__)
    parser.add_argument("--videos", type=int, default=400)
    parser.add_argument("--seeds", default="9001,9002")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/search_quality.json"))
    options = parser.parse_args(argv)
    model = catalog.load("bundled").model
    libraries = [scenes.library(model, options.videos, seed) for seed in map(int, options.seeds.split(","))]
    with tempfile.TemporaryDirectory() as name, local_toolkit("bundled") as toolkit:
        folder = Path(name)
        with embedded.embedded(folder / "postgres") as url:
            migrate.upgrade(url)
            tallies = asyncio.run(ask_all(url, toolkit, libraries, folder))
    figures = {kind: tally.figures() for kind, tally in tallies.items()}
    content = {
        "machine": machine.record(),
        "videos": options.videos,
        "seeds": options.seeds,
        "min_score": MIN_SCORE,
        "goals": GOALS,
        **figures,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(content, indent=1) + "\n")
    missed = [
        f"{kind}: {name}"
        for kind, told in figures.items()
        for name, goal in GOALS.items()
        if (told[name] < goal if name == "ndcg" else told[name] > goal)
    ]
    print(f"goals missed: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
