"""Are copies found, and recommendations right, in a real database, by the worker's own code and over HTTP?

    python -m benchmarks recommended [--others 1000] [--out benchmarks/results/recommended.json]

The held-out library of `python -m benchmarks copies` (seed 2) is put into PostgreSQL as jobs put it in, a graph is made
as workers make it, and a finder works on all that is due; pairs are read from `GET /v1/copies`, and judged as there.
What is recommended is asked for over HTTP, in a library of the planted scenes of `benchmarks.tastes`, each a video of
its own: like two of a scene, or two of each of two scenes, or one scene and not the one most like it. Every question is
asked twice; the answers have to be equal to the last byte.
"""

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import uvicorn
from sqlalchemy import text

from benchmarks import copies, machine, tastes
from benchmarks.corpus import copies as corpus
from benchmarks.search_quality import _SECRET, key_of
from benchmarks.served_tastes import put, recommended
from pipeline.looks import looks
from pipeline.tracks import Aligned, Track
from serving.api.app import create_app
from serving.copies.finder import Finder
from serving.db import embedded, migrate
from serving.db.accounts import Tenant
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.options import LimitOptions
from serving.search.indexes import make_graphs
from serving.settings import DEFAULTS
from serving.storage.keyring import Keyring
from serving.storage.master import LocalMaster
from serving.storage.store import Store

COPIES, TASTES = "copies", "tastes"
"""The tenants."""


async def put_library(database: Database, library: copies.Library) -> dict[str, str]:
    """Id -> name; in an order in which a copy comes before its film as often as behind it."""
    names = list(library.videos)
    np.random.default_rng(0).shuffle(names)
    ids = {}
    for name in names:
        one = library.videos[name]
        track = Track(looks(one.stats), one.pts_s)
        ids[await put(database, COPIES, name, one.embeddings, one.pts_s, track)] = name
    return ids


# --- copies ---------------------------------------------------------------------------------------------------------


async def found_copies(database: Database, client: httpx.AsyncClient, library: copies.Library) -> dict[str, Any]:
    """All videos looked at by a finder; what it found, judged, and what it cost."""
    began = time.perf_counter()
    ids = await put_library(database, library)
    put_s = time.perf_counter() - began
    began = time.perf_counter()
    graphs = await make_graphs(database.url)
    graphs_s = time.perf_counter() - began
    stop, began, cpu = asyncio.Event(), time.perf_counter(), _cpu_s()
    serving = asyncio.create_task(Finder(database).serve(stop))
    while await _scalar(database, "SELECT count(*) FROM video_looks WHERE state = 'due'"):
        await asyncio.sleep(0.5)
    found_s, cpu = time.perf_counter() - began, _cpu_s() - cpu
    stop.set()
    await serving
    pairs = await _pairs(client, ids)
    told = copies.judged(pairs, library.copies, list(library.videos))
    return told | {
        "videos": len(ids),
        "looks": await _scalar(database, "SELECT count(*) FROM look"),
        "graphs": graphs,
        "graphs_s": round(graphs_s, 1),
        "put_s_a_video": round(put_s / len(ids), 4),
        "found_s_a_video": round(found_s / len(ids), 4),
        "cpu_s_a_video": round(cpu / len(ids), 4),
    }


async def _pairs(client: httpx.AsyncClient, ids: dict[str, str]) -> dict[tuple[str, str], Aligned]:
    """All pairs that `GET /v1/copies` tells, by their best stretch."""
    found: dict[tuple[str, str], Aligned] = {}
    asked: dict[str, Any] = {"limit": 100}
    while True:
        page = (await client.get("/v1/copies", params=asked)).raise_for_status().json()
        for one in page["data"]:
            best = one["stretches"][0]
            found[ids[one["first"]["video_id"]], ids[one["second"]["video_id"]]] = Aligned(
                a_start_s=best["first_start_s"],
                a_end_s=best["first_end_s"],
                b_start_s=best["second_start_s"],
                b_end_s=best["second_end_s"],
                speed=best["speed"],
                offset_s=best["second_start_s"] - best["first_start_s"] / best["speed"],
                score=best["likeness"],
                moments=best["moments"],
            )
        if page["next_cursor"] is None:
            if page["pending"] or page["failed"] or page["not_looked_at"]:
                raise RuntimeError(f"videos were left out: {page['pending']}, {page['failed']}")
            return found
        asked["cursor"] = page["next_cursor"]


async def _scalar(database: Database, query: str) -> int:
    async with database.read(SYSTEM) as session:
        return (await execute(session, text(query))).scalar_one()


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def means(library: copies.Library) -> dict[str, float]:
    """Cosines of the mean vectors of two videos: of those that have nothing to do with one another, and of copies."""
    names = list(library.videos)
    vectors = np.stack([library.videos[name].embeddings.astype(np.float32).mean(0) for name in names])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    where = {name: row for row, name in enumerate(names)}
    alike = vectors @ vectors.T
    same = [(where[one.film], where[one.name]) for one in library.copies.values()]
    of_copies = [float(alike[pair]) for pair in same]
    for a, b in same:
        alike[a, b] = alike[b, a] = -1.0
    np.fill_diagonal(alike, -1.0)
    nearest = alike.max(1)
    quantiles = {f"nearest_other_p{q}": round(float(np.quantile(nearest, q / 100)), 4) for q in (50, 95, 99)}
    return (
        quantiles
        | {"nearest_other_max": round(float(nearest.max()), 4)}
        | {f"copy_p{q}": round(float(np.quantile(of_copies, q / 100)), 4) for q in (10, 50, 90)}
    )


# --- all of it ------------------------------------------------------------------------------------------------------


async def measured(url: str, folder: Path, library: copies.Library, singles: int) -> dict[str, Any]:
    """Both, of one server."""
    settings = msgspec.structs.replace(DEFAULTS, limits=LimitOptions(requests_per_s=0, unknown_per_s=0))
    async with AsyncExitStack() as stack:
        database = Database(url)
        stack.push_async_callback(database.close)
        async with database.write("tenant.create", SYSTEM) as session:
            session.add_all([Tenant(id=name, name=name) for name in (COPIES, TASTES)])
        app = create_app(Database(url), Store(folder / "objects", Keyring(LocalMaster([bytes(32)]))), settings, _SECRET)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.05)
        address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

        async def client(tenant: str) -> httpx.AsyncClient:
            headers = {"Authorization": f"Bearer {await key_of(database, tenant)}"}
            return await stack.enter_async_context(httpx.AsyncClient(base_url=address, headers=headers, timeout=60))

        out = {"recommendations": await recommended(database, await client(TASTES), TASTES, singles)}
        print(json.dumps(out["recommendations"], indent=1), flush=True)
        out["copies"] = await found_copies(database, await client(COPIES), library)
        print(json.dumps(out["copies"], indent=1), flush=True)
        server.should_exit = True
        await serving
    return out


def drawn(others: int) -> copies.Library:
    """The held-out library, with so many of the films that have no copy."""
    whole = corpus.recipes(copies.HELD_OUT, copies.COPIED, copies.OTHERS[copies.HELD_OUT])
    return copies.library_of(copies.HELD_OUT, whole[: copies.COPIED + others], copies.COPIED)


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and write JSON; 1 where the goals are not met."""
    parser = argparse.ArgumentParser(prog="benchmarks.recommended", description=__doc__)
    parser.add_argument("--others", type=int, default=copies.OTHERS[copies.HELD_OUT], help="films without a copy")
    parser.add_argument("--singles", type=int, default=tastes.SINGLES, help="scenes that are of no cluster")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/recommended.json"))
    args = parser.parse_args(argv)
    library = drawn(args.others)
    content: dict[str, Any] = {"machine": machine.record(), "seed": copies.HELD_OUT, "others": args.others}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with embedded.embedded(folder / "postgres") as url:
            migrate.upgrade(url)
            content |= asyncio.run(measured(url, folder, library, args.singles))
    content["means"] = means(library)
    judge = content["copies"]
    content["goals"] = {
        "precision": judge["precision"],
        "recall": judge["recall"],
        "hit_rate": content["recommendations"]["one_interest"]["hit_rate"],
        "met": judge["precision"] >= copies.GOAL_PRECISION
        and judge["recall"] >= copies.GOAL_RECALL
        and content["recommendations"]["met"],
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(content["goals"]))
    return 0 if content["goals"]["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
