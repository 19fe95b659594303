"""The nearest looks of a tenant's other videos to each of a video's own: all that there are while they are few, by an
HNSW graph once they are many."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any, Final

import numpy as np
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline import looks
from pipeline.copies import NEIGHBOURS, Hits
from pipeline.tracks import BLOCK, Track, shows
from serving.db.copies import LOOKS_DIM
from serving.db.database import Database
from serving.db.statements import execute
from serving.db.vectors import literals, matrix
from serving.search.indexes import index_name, is_whole, look_around

#: Up to so many looks are all read, and compared here: 6 MB, and exact. See docs/decisions/0017.
EXACT_ROWS: Final = 20_000

#: Looks that are read at a time, and samples that a statement asks the graph about.
_READ, _ASKED = 8192, 20

#: How far the graph looks around for the neighbours of a sample: the stills of a library crowd each other out.
_EF: Final = 100

_MANY = text(
    "SELECT count(*) FROM (SELECT FROM look WHERE tenant_id = :tenant AND video_id <> :video LIMIT :most) seen"
)

_NEXT = text(
    """
    SELECT video_id, position, pts_s, halfvec_send(vector) AS sent FROM look
    WHERE tenant_id = :tenant AND video_id <> :video AND (video_id, position) > (:after_video, :after_position)
    ORDER BY video_id, position LIMIT :most
    """
)

_NEAR = text(
    f"""
    SELECT asked.number, near.video_id, near.pts_s, near.similarity
    FROM unnest(cast(:vectors AS text[])) WITH ORDINALITY AS asked (vector, number) CROSS JOIN LATERAL (
        SELECT video_id, pts_s, -(vector <#> asked.vector::halfvec({LOOKS_DIM})) AS similarity FROM look
        WHERE tenant_id = :tenant AND video_id <> :video
        ORDER BY vector <#> asked.vector::halfvec({LOOKS_DIM}) LIMIT :most
    ) near
    """
)


class GraphMissing(Exception):
    """There are too many looks to read them all, and the graph of looks is not made yet: ask again later."""


_Nearest = tuple[np.ndarray, np.ndarray]
"""Of each of N samples the K nearest so far: similarity, float32 [N, K], and which those are, int64 [N, K]."""


async def neighbours(
    database: Database, tenant: str, video: str, track: Track, pool: Executor
) -> tuple[Hits, tuple[str, ...]]:
    """The nearest `NEIGHBOURS` of each sample among those of the tenant's other videos, and the ids that their numbers
    stand for.

    Args:
        pool: where is computed.

    Raises:
        GraphMissing: they are more than `EXACT_ROWS`, and there is no graph.
    """
    asked = np.flatnonzero(shows(track))
    vectors = track.vectors[asked].astype(np.float32)
    async with database.read(tenant) as session:
        many = (await execute(session, _MANY, tenant=tenant, video=video, most=EXACT_ROWS + 1)).scalar_one()
        graph = many > EXACT_ROWS and await is_whole(session, index_name("look", looks.SPACE))
    if not len(asked) or not many:
        return _hits([], [], [], [])
    if many > EXACT_ROWS and not graph:
        raise GraphMissing(f"more than {EXACT_ROWS} looks, and no graph of them yet")
    if graph:
        return await _of_graph(database, tenant, video, vectors, asked)
    return await _of_all(database, tenant, video, vectors, asked, pool)


async def _of_graph(
    database: Database, tenant: str, video: str, vectors: np.ndarray, asked: np.ndarray
) -> tuple[Hits, tuple[str, ...]]:
    rows: list[Any] = []
    for first in range(0, len(vectors), _ASKED):
        async with database.read(tenant) as session:
            await look_around(session, _EF)
            some = literals(vectors[first : first + _ASKED])
            found = await execute(session, _NEAR, vectors=some, tenant=tenant, video=video, most=NEIGHBOURS)
            rows += [(asked[first + number - 1], *rest) for number, *rest in found.all()]
    query, videos, pts_s, similarity = zip(*rows, strict=True) if rows else ((), (), (), ())
    return _hits(query, videos, pts_s, similarity)


async def _of_all(
    database: Database, tenant: str, video: str, vectors: np.ndarray, asked: np.ndarray, pool: Executor
) -> tuple[Hits, tuple[str, ...]]:
    best: _Nearest = np.zeros((len(vectors), 0), np.float32), np.zeros((len(vectors), 0), np.int64)
    videos: list[str] = []
    pts_s: list[float] = []
    after: tuple[str, int] = "", -1
    while True:
        async with database.read(tenant) as session:
            rows = await _next(session, tenant, video, after)
        if rows:
            others, first = matrix([row.sent for row in rows], LOOKS_DIM), len(videos)
            best = await asyncio.get_running_loop().run_in_executor(pool, _nearest, vectors, best, others, first)
            videos += [row.video_id for row in rows]
            pts_s += [row.pts_s for row in rows]
            after = rows[-1].video_id, rows[-1].position
        if len(rows) < _READ:
            break
    similarity, which = best
    query = np.repeat(asked, which.shape[1])
    which = which.ravel()
    return _hits(query, [videos[at] for at in which], [pts_s[at] for at in which], similarity.ravel())


async def _next(session: AsyncSession, tenant: str, video: str, after: tuple[str, int]) -> Sequence[Any]:
    this = {"tenant": tenant, "video": video, "after_video": after[0], "after_position": after[1]}
    return (await execute(session, _NEXT, **this, most=_READ)).all()


def _nearest(vectors: np.ndarray, best: _Nearest, others: np.ndarray, first: int) -> _Nearest:
    """With more rows to choose from: float32 [M, D], of which the first one has the number `first`."""
    kept = min(NEIGHBOURS, best[0].shape[1] + len(others))
    similarity = np.empty((len(vectors), kept), np.float32)
    which = np.empty((len(vectors), kept), np.int64)
    numbers = np.arange(first, first + len(others))
    for low in range(0, len(vectors), BLOCK):
        rows = slice(low, low + BLOCK)
        every = np.concatenate([best[0][rows], vectors[rows] @ others.T], axis=1)
        names = np.concatenate([best[1][rows], np.broadcast_to(numbers, (len(every), len(others)))], axis=1)
        places = np.argpartition(-every, kept - 1, axis=1)[:, :kept]
        similarity[rows] = np.take_along_axis(every, places, axis=1)
        which[rows] = np.take_along_axis(names, places, axis=1)
    return similarity, which


def _hits(
    query: Sequence[int] | np.ndarray,
    videos: Sequence[str],
    pts_s: Sequence[float],
    similarity: Sequence[float] | np.ndarray,
) -> tuple[Hits, tuple[str, ...]]:
    names = tuple(sorted(set(videos)))
    numbers = {name: number for number, name in enumerate(names)}
    hits = Hits(
        query=np.asarray(query, np.int64),
        video=np.array([numbers[one] for one in videos], np.int64),
        pts_s=np.asarray(pts_s, np.float64),
        similarity=np.asarray(similarity, np.float64),
    )
    return hits, names
