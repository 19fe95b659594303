"""How fast moments are found, and whether they are the nearest, by the number of them, filters and clients.

    python -m uv pip install --target build/peers faiss-cpu usearch
    python -m benchmarks search --rows 10000,100000,1000000 --peers build/peers

Vectors of 512 lie in clusters, as those of videos do: 100 samples a video, ten alike. They are put into an embedded
PostgreSQL, and looked for by what `POST /v1/search` looks with, without HTTP and models. Recall is of the ten nearest
by exact products of the full vectors. A filter that keeps 1 % keeps so many videos, by a label; one that keeps 0.01 %,
a stretch of few videos.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import numpy as np
from sqlalchemy.engine import make_url

from benchmarks import machine, search_peers
from pipeline.finding import unit
from pipeline.indexing import alike
from serving.api.video_list import VideoFilters
from serving.db import embedded, migrate
from serving.db.database import Database
from serving.db.search import Space
from serving.search import indexes, retrieving
from serving.search.plan import EXACT_ROWS
from serving.search.retrieving import Scope, Where

DIM, A_VIDEO, ALIKE, FOUND, CANDIDATES = 512, 100, 10, 10, 200

SPACE = Space(tenant_id="t", space="bench", dim=DIM, model="none", scale=1.0, bias=0.0, state="active")


@dataclass(frozen=True, slots=True)
class Filter:
    """What is kept."""

    name: str
    where: Where
    rows: np.ndarray | None
    """int64, which those are; None: all."""


def library(rows: int, rng: np.random.Generator) -> np.ndarray:
    """float32 [rows, DIM], of length 1: takes of `ALIKE` samples around some hundreds of topics.

    Variances of the directions fall as 1/k, so that some thirty of them say most (participation ratio 28; 23 of 1,500
    scenes by the bundled model). With all directions alike, unrelated vectors lie at right angles, each as far from a
    query as all others, and no graph finds its way; vectors of pictures are not like that.
    """
    spread = (np.arange(1, DIM + 1) ** -0.5).astype(np.float32)
    spread /= np.linalg.norm(spread)

    def drawn(count: int) -> np.ndarray:
        return rng.standard_normal((count, DIM), dtype=np.float32) * spread

    takes = drawn(500)[rng.integers(500, size=-(-rows // ALIKE))] + 0.8 * drawn(-(-rows // ALIKE))
    return unit(np.repeat(takes, ALIKE, axis=0)[:rows] + 0.4 * drawn(rows))


def filters(rows: int) -> list[Filter]:
    """None, and those that keep 1 % and 0.01 %."""
    videos = rows // A_VIDEO
    few = max(1, rows // 10_000)
    whole = -(-few // A_VIDEO)
    left = np.arange(few) if few < A_VIDEO else np.arange(whole * A_VIDEO)
    some = Where(video_ids=tuple(map(video_id, range(whole))), before_s=float(min(few, A_VIDEO)) - 0.5)
    return [
        Filter("all", Where(), None),
        Filter("1 %", Where(videos=VideoFilters(label="kept")), np.arange(max(1, videos // 100) * A_VIDEO)),
        Filter("0.01 %", some, left),
    ]


def video_id(number: int) -> str:
    return f"vid_{number:026d}"


async def fill(url: str, vectors: np.ndarray) -> None:
    """Put all of it in, past row-level security, which knows no COPY."""
    root = make_url(url).set(username="postgres").render_as_string(hide_password=False)
    connection = await asyncpg.connect(root)
    try:
        # The graph of the rows before would take each of these one by one.
        await connection.execute(f"DROP INDEX IF EXISTS {indexes.index_name('moment', SPACE.space)}")
        await connection.execute("TRUNCATE tenant CASCADE; INSERT INTO tenant (id, name) VALUES ('t', 't')")
        await connection.execute(
            "INSERT INTO space (tenant_id, space, dim, model, scale, bias, state) "
            f"VALUES ('t', 'bench', {DIM}, 'none', 1, 0, 'active')"
        )
        videos = -(-len(vectors) // A_VIDEO)
        await connection.execute(
            "INSERT INTO video (id, tenant_id, title, labels, user_metadata, size_bytes, sha256, object_key, status) "
            "SELECT 'vid_' || lpad(n::text, 26, '0'), 't', 'video ' || n, "
            f"CASE WHEN n < {max(1, videos // 100)} THEN ARRAY['kept'] ELSE ARRAY[]::text[] END, "
            f"'{{}}', 1, n::text, n::text, 'analyzed' FROM generate_series(0, {videos - 1}) n"
        )
        await connection.set_type_codec(
            "halfvec", schema="public", format="binary", encoder=_sent, decoder=lambda data: data
        )
        lots = np.random.default_rng(0).random(len(vectors))
        shots = np.arange(A_VIDEO) // ALIKE
        of_videos = [vectors[first : first + A_VIDEO] for first in range(0, len(vectors), A_VIDEO)]
        leads = np.concatenate([alike(some, shots[: len(some)]) for some in of_videos]).tolist()
        columns = ("video_id", "space", "position", "tenant_id", "shot", "pts_s", "start_s", "end_s", "lot", "alike")
        for first in range(0, len(vectors), 10_000):
            records = [
                (video_id(row // A_VIDEO), "bench", at := row % A_VIDEO, "t", at // ALIKE, at + 0.0, at + 0.0, at + 1.0,
                 lots[row], leads[row], vectors[row])
                for row in range(first, min(first + 10_000, len(vectors)))
            ]  # fmt: skip
            await connection.copy_records_to_table("moment", records=records, columns=(*columns, "vector"))
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


def _sent(vector: np.ndarray) -> bytes:
    return len(vector).to_bytes(2, "big") + b"\0\0" + vector.astype(">f2").tobytes()


async def timed(clients: int, times: int, ask: Callable[[int], asyncio.Future | object]) -> tuple[list, list[float]]:
    """What came of `times` questions by so many clients at once, and how long each took, seconds."""
    answers: list = [None] * times
    took = [0.0] * times
    numbers = iter(range(times))

    async def client() -> None:
        for number in numbers:
            began = time.perf_counter()
            answers[number] = await ask(number)  # type: ignore[misc]
            took[number] = time.perf_counter() - began

    await asyncio.gather(*(client() for _ in range(clients)))
    return answers, took


def measured(took: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(took, (50, 99)) * 1000
    return {"p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2)}


def recall(found: list, true: list) -> float:
    return round(float(np.mean([len(set(a) & set(b)) / max(1, len(b)) for a, b in zip(found, true, strict=True)])), 4)


async def ours(database: Database, kept: Filter, queries: np.ndarray, clients: int) -> tuple[list, list[float], str]:
    scope, ways = Scope("t", SPACE, "moments", kept.where), set()
    known = None
    if kept.where.whole:
        # As searches do: how large a library is, is looked at now and then.
        async with database.read("t") as session:
            rows = await retrieving.counted(session, scope)
        known = rows if rows > EXACT_ROWS else None

    async def ask(number: int) -> list[int]:
        async with database.read("t") as session:
            how = await retrieving.planned(session, scope, CANDIDATES, known)
            rows, vectors = await retrieving.nearest(session, scope, how, queries[number], CANDIDATES)
        ways.add(how.way)
        best = np.argsort(-(vectors @ queries[number]))[:FOUND]
        return [int(rows[at].video_id[4:]) * A_VIDEO + rows[at].position for at in best]

    return *await timed(clients, len(queries), ask), "/".join(sorted(ways))


async def run(url: str, rows: int, options: argparse.Namespace) -> dict:
    rng = np.random.default_rng(options.seed)
    vectors = library(rows, rng)
    picked = vectors[rng.integers(rows, size=options.queries)]
    queries = unit(picked + 0.5 / np.sqrt(DIM) * rng.standard_normal((options.queries, DIM)))
    began = time.perf_counter()
    await fill(url, vectors)
    filled_s = time.perf_counter() - began
    began = time.perf_counter()
    graphs = await indexes.make_graphs(url)
    result: dict = {
        "rows": rows,
        "filled_s": round(filled_s, 1),
        "graph_s": round(time.perf_counter() - began, 1) if graphs else None,
        "cells": [],
    }
    truth = search_peers.exact(vectors)
    peers, missing = [], {}
    for other in search_peers.others(vectors, 2 * CANDIDATES):
        if isinstance(other, tuple):
            missing[other[0]] = other[1]
        else:
            peers.append(other)
    result["missing"] = missing
    database = Database(url, pool_size=max(options.clients))
    try:
        for kept in filters(rows):
            true = [truth.ask(query, kept.rows, FOUND).tolist() for query in queries]
            for clients in options.clients:
                found, took, way = await ours(database, kept, queries, clients)
                empty = sum(not one for one in found)
                cell = {
                    "filter": kept.name,
                    "clients": clients,
                    "way": way,
                    "recall": recall(found, true),
                    "empty": empty,
                }
                result["cells"].append({"who": "ours", **cell, "recall": recall(found, true), **measured(took)})
                print(json.dumps(result["cells"][-1]), flush=True)
            for peer in peers:
                answers, took = [], []
                for query in queries:
                    began = time.perf_counter()
                    answers.append([int(one) for one in peer.ask(query, kept.rows, FOUND)])
                    took.append(time.perf_counter() - began)
                cell = {"who": peer.name, "filter": kept.name, "clients": 1, "recall": recall(answers, true)}
                result["cells"].append({**cell, **measured(took)})
                print(json.dumps(result["cells"][-1]), flush=True)
    finally:
        await database.close()
    return result


def main(argv: list[str] | None = None) -> int:
    """Entry point; 1 where recall or a filter is not as it should be."""
    parser = argparse.ArgumentParser(prog="benchmarks.search", description=__doc__)
    parser.add_argument("--rows", default="10000,100000", help="numbers of vectors")
    parser.add_argument("--clients", default="1,10,50")
    parser.add_argument("--queries", type=int, default=200, help="in each cell")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--peers", type=Path, help="folder with further packages")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/search.json"))
    options = parser.parse_args(argv)
    options.clients = [int(one) for one in options.clients.split(",")]
    if options.peers:
        sys.path.append(str(options.peers))
    content: dict = {"machine": machine.record(), "exact_rows": EXACT_ROWS, "runs": []}
    with tempfile.TemporaryDirectory() as folder, embedded.embedded(Path(folder) / "postgres") as url:
        migrate.upgrade(url)
        for rows in map(int, options.rows.split(",")):
            content["runs"].append(asyncio.run(run(url, rows, options)))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(content, indent=1) + "\n")
    cells = [cell for one in content["runs"] for cell in one["cells"] if cell["who"] == "ours"]
    return 0 if all(cell["recall"] >= 0.98 and not cell["empty"] for cell in cells) else 1


if __name__ == "__main__":
    sys.exit(main())
