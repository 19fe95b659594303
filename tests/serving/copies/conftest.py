"""A library of films that are told by their pictures alone, put in as a job does, and a finder at work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from sqlalchemy import text

from pipeline.looks import DIM
from pipeline.tracks import Track
from serving.copies.finder import Finder
from serving.copies.keeping import write_looks
from serving.db.database import SYSTEM, Database
from serving.db.media import Video
from serving.db.statements import execute
from tests.serving.jobs.conftest import run, url

__all__ = ["run", "url"]


def film(seed: int, samples: int = 20) -> Track:
    """So many different pictures, one a second; the first one and the last are black."""
    vectors = np.random.default_rng(seed).standard_normal((samples, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[[0, -1]] = 0.0
    return Track(vectors, np.arange(samples, dtype=np.float64))


def excerpt(track: Track, first: int, last: int, before_s: float = 0.0, seed: int = 99) -> Track:
    """Samples `first` to `last`, a little altered, behind `before_s` seconds of something else."""
    rng = np.random.default_rng(seed)
    intro = film(seed + 1000, int(before_s)).vectors if before_s else np.zeros((0, DIM), np.float32)
    shown = track.vectors[first : last + 1]
    altered = shown + 0.02 * rng.standard_normal(shown.shape).astype(np.float32) * np.any(shown, axis=1)[:, None]
    vectors = np.concatenate([intro, altered])
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return Track(vectors / np.where(lengths > 0, lengths, 1.0), np.arange(len(vectors), dtype=np.float64))


def name_of(number: int, tenant: str = "a") -> str:
    """Id of a video."""
    return f"vid_{tenant.upper()}{number:025d}"


async def put(database: Database, tracks: dict[int, Track], tenant: str = "a") -> None:
    """Videos by their numbers, as if jobs of theirs had succeeded."""
    for number, track in tracks.items():
        name = name_of(number, tenant)
        async with database.write("video.write", SYSTEM) as session:
            if await session.get(Video, name) is None:
                session.add(
                    Video(id=name, tenant_id=tenant, title=f"film {number}", size_bytes=1, sha256=name, object_key=name)
                )
                await session.flush()
            await write_looks(session, tenant, name, track)


@asynccontextmanager
async def finding(database: Database, lease_s: float = 30.0) -> AsyncIterator[None]:
    """A finder at work while the block lasts."""
    stop = asyncio.Event()
    serving = asyncio.create_task(Finder(database, lease_s=lease_s).serve(stop))
    try:
        yield
    finally:
        stop.set()
        await serving


async def all_found(database: Database) -> None:
    """Wait until nothing is due."""
    while await left(database):
        await asyncio.sleep(0.02)


async def left(database: Database) -> int:
    """How many videos are due."""
    async with database.read(SYSTEM) as session:
        return (await execute(session, text("SELECT count(*) FROM video_looks WHERE state = 'due'"))).scalar_one()


@pytest.fixture
def films() -> dict[int, Track]:
    """Five films; 10 is an excerpt of 1 behind an intro, 11 the whole of 2 again."""
    every = {number: film(number) for number in range(1, 6)}
    return every | {10: excerpt(every[1], 4, 16, before_s=6), 11: excerpt(every[2], 0, 19)}
