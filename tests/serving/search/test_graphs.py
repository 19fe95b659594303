"""Graphs of vectors: made beside everything else, asked where there are many rows, and never in the way of filters."""

import asyncio

import asyncpg
import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from models.base import Likelihood
from pipeline.indexing import Index
from serving.api.video_list import VideoFilters
from serving.db.database import SYSTEM
from serving.db.media import Video
from serving.db.search import Space
from serving.db.statements import execute
from serving.search import indexes, plan, retrieving
from serving.search.retrieving import Scope, Where
from serving.search.writing import write_vectors
from tests.serving.jobs.conftest import run, url

__all__ = ["run", "url"]

#: As a model of others may call it.
SPACE = "it's: 1"

DIM, VIDEOS, SAMPLES = 16, 30, 20

#: Samples in a row that look alike.
TAKE = 5


async def _filled(world) -> tuple[Space, np.ndarray]:
    """A library of `a`, one as large of `b`; the space, and float32 [V, S, D] of the former."""
    rng = np.random.default_rng(3)
    takes = rng.standard_normal((2, VIDEOS, SAMPLES // TAKE, DIM)).astype(np.float32)
    vectors = np.repeat(takes, TAKE, axis=2)
    vectors += 0.3 * rng.standard_normal(vectors.shape).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    at_s = np.arange(SAMPLES, dtype=np.float64)
    async with world.database.write("video.write", SYSTEM) as session:
        for tenant, library in zip(("a", "b"), vectors, strict=True):
            for number, some in enumerate(library):
                name = f"vid_{tenant}{number:02d}"
                labels = ["rare"] if number == 7 else []
                session.add(
                    Video(
                        id=name, tenant_id=tenant, title="t", labels=labels, size_bytes=1, sha256=name, object_key=name
                    )
                )
                await session.flush()
                index = Index(
                    space=SPACE,
                    model="bundled",
                    likelihood=Likelihood(10.0, -1.0),
                    pts_s=at_s,
                    starts_s=at_s,
                    ends_s=at_s + 1,
                    shots=np.zeros(SAMPLES, np.int64),
                    vectors=some,
                    segments=(),
                    segment_vectors=np.zeros((0, DIM), np.float32),
                )
                await write_vectors(session, tenant, name, index)
        await execute(session, text("ANALYZE moment"))
    return Space(tenant_id="a", space=SPACE, dim=DIM, model="bundled", scale=10.0, bias=-1.0), vectors[0]


async def _nearest(world, space: Space, where: Where, probe: np.ndarray, wanted: int = 10):
    scope = Scope("a", space, "moments", where)
    async with world.database.read("a") as session:
        how = await retrieving.planned(session, scope, 3 * wanted)
        rows, vectors = await retrieving.nearest(session, scope, how, probe, 3 * wanted)
    best = np.argsort(-(vectors @ probe))[:wanted]
    return how, [rows[at].key for at in best]


@pytest.fixture
def eager(monkeypatch) -> None:
    """More rows than this are looked for in the graph."""
    monkeypatch.setattr(plan, "EXACT_ROWS", 40)
    monkeypatch.setattr(retrieving, "EXACT_ROWS", 40)


@pytest.mark.usefixtures("eager")
def test_what_the_graph_finds_is_what_is_there(run):
    async def body(world):
        space, library = await _filled(world)
        before, _ = await _nearest(world, space, Where(), library[3, 4])
        assert (before.way, before.reason[:14]) == ("exact", "the space has ")
        assert await indexes.make_graphs(world.database.url, least_rows=100) == 1
        assert await indexes.make_graphs(world.database.url, least_rows=100) == 0
        filters = {
            "all": (Where(), None),
            "a video": (Where(videos=VideoFilters(label="rare")), {7}),
            "a stretch": (Where(before_s=3.0), None),
            "a moment": (Where(video_ids=("vid_a09",), after_s=4.0, before_s=4.5), {9}),
        }
        for name, (where, videos) in filters.items():
            right = total = 0
            for number in range(20):
                probe = library[number % VIDEOS, number % SAMPLES]
                how, found = await _nearest(world, space, where, probe)
                assert found, name
                assert all(video.startswith("vid_a") for video, _ in found)
                assert videos is None or {int(video[5:]) for video, _ in found} == videos
                true = _true(library, probe, where, videos)
                right, total = right + len(set(true) & set(found)), total + len(true)
            assert right / total >= 0.98, f"{name}: {right} of {total}"
            assert how.way == ("graph" if videos is None else "exact"), name

    run(body)


def _true(library: np.ndarray, probe: np.ndarray, where: Where, videos: set[int] | None) -> list[tuple[str, int]]:
    """The ten nearest that meet the filters, by going through all."""
    halves = library.astype(np.float16).astype(np.float32)
    every = [
        (float(halves[video, at] @ probe), (f"vid_a{video:02d}", at))
        for video in (range(VIDEOS) if videos is None else videos)
        for at in range(SAMPLES)
        if (where.after_s is None or at + 1 > where.after_s) and (where.before_s is None or at < where.before_s)
    ]
    return [key for _, key in sorted(every, reverse=True)[:10]]


def test_the_graph_is_of_those_that_lead_others(run):
    async def body(world):
        await _filled(world)
        await indexes.make_graphs(world.database.url, least_rows=100)
        async with world.database.read("a") as session:
            rows = (
                await execute(session, text("SELECT video_id, alike FROM moment ORDER BY video_id, position"))
            ).all()
            graph = text(
                "SELECT pg_get_expr(indpred, indrelid) FROM pg_index WHERE indexrelid = cast(:name AS regclass)"
            )
            which = (await execute(session, graph, name=indexes.index_name("moment", SPACE))).scalar_one()
        assert "alike > 0" in which
        leading = [row.alike for row in rows if row.alike > 0]
        assert sum(leading) == len(rows) == VIDEOS * SAMPLES
        assert len(rows) / TAKE <= len(leading) < len(rows) / 2

    run(body)


@pytest.mark.usefixtures("eager")
def test_a_filter_that_the_graph_does_not_meet_is_met_all_the_same(run, monkeypatch):
    """The graph gives up before it comes to what the filter keeps: then all that it keeps is looked at."""
    monkeypatch.setattr(plan, "MAX_SCAN_ROWS", 1)
    monkeypatch.setattr(plan, "_MAX_EF", 2)

    async def body(world):
        space, library = await _filled(world)
        assert await indexes.make_graphs(world.database.url, least_rows=100) == 1
        how, found = await _nearest(world, space, Where(before_s=3.0), library[0, 19])
        assert how.way == "graph"
        assert len(found) == 10
        assert {at for _, at in found} <= {0, 1, 2}

    run(body)


def test_one_that_was_left_half_made_is_made_anew(run):
    async def body(world):
        space, _ = await _filled(world)
        name = indexes.index_name("moment", space.space)
        root = make_url(world.database.url).set(username="postgres").render_as_string(hide_password=False)
        connection = await asyncpg.connect(root)
        try:
            await connection.execute(f"CREATE INDEX {name} ON moment (lot) WHERE space = 'its'")
            await connection.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = $1::regclass", name)
            assert await indexes.make_graphs(world.database.url, least_rows=100) == 1
            made = await connection.fetchval("SELECT pg_get_indexdef($1::regclass)", name)
        finally:
            await connection.close()
        assert "hnsw" in made

    run(body)


def test_two_at_once_make_one(run):
    async def body(world):
        await _filled(world)
        made = await asyncio.gather(*(indexes.make_graphs(world.database.url, least_rows=100) for _ in range(3)))
        assert sum(made) == 1

    run(body)


def test_a_graph_gets_the_memory_that_it_takes():
    assert indexes.memory_mib(1_000_000, 512, 4096) == 2815
    assert indexes.memory_mib(1_000_000, 512, 128) == 512, "no more than half a gigabyte of a server with a small cache"
    assert indexes.memory_mib(1000, 512, 3072) == 64
