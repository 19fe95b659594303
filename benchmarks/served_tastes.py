"""Recommendations of a real server, asked for over HTTP: part of `python -m benchmarks recommended`."""

import time
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

import httpx
import numpy as np

from benchmarks import tastes
from models.base import Likelihood
from pipeline.diversity import spread
from pipeline.indexing import Index
from pipeline.report import Segment, Source
from pipeline.tracks import Track
from serving.copies.keeping import write_looks
from serving.db.database import SYSTEM, Database
from serving.db.media import Video
from serving.ids import new_id
from serving.search.writing import write_vectors

TOP: Final = 10
GOAL_HIT_RATE: Final = 0.95

_SOURCE: Final = Source(name="benchmark", version="1")


async def put(
    database: Database, tenant: str, title: str, vectors: np.ndarray, pts_s: np.ndarray, seen: Track | None
) -> str:
    """A video as its job would leave it, and its id. `vectors`: float [N, D], of the bundled model."""
    name, end_s = new_id("vid"), float(pts_s[-1]) + 1.0
    vectors = vectors.astype(np.float32)
    whole = vectors.mean(0, keepdims=True)
    segment = Segment(
        start_s=0.0, end_s=end_s, score=0.5, signals={"motion": 0.5}, reasons=(), thumbnail_s=0.0, source=_SOURCE
    )
    index = Index(
        space="bundled",
        model="bundled",
        likelihood=Likelihood(scale=1.0, bias=0.0),
        pts_s=pts_s,
        starts_s=pts_s,
        ends_s=np.append(pts_s[1:], end_s),
        shots=np.zeros(len(pts_s), np.int64),
        vectors=vectors,
        segments=((0, segment),),
        segment_vectors=whole / np.linalg.norm(whole),
    )
    async with database.write("video.write", SYSTEM) as session:
        session.add(Video(id=name, tenant_id=tenant, title=title, size_bytes=1, sha256=name, object_key=name))
        await session.flush()
        await write_vectors(session, tenant, name, index)
        if seen is not None:
            await write_looks(session, tenant, name, seen)
    return name


class Asker:
    """Asks for recommendations, each question twice."""

    def __init__(self, client: httpx.AsyncClient, where: dict[str, int]) -> None:
        """`where`: id of a video -> its number."""
        self._client, self._where = client, where
        self._ids = list(where)
        self.questions = self.unequal = 0
        self.took_s: list[float] = []

    async def picked(self, liked: Iterable[int], disliked: Iterable[int] = (), **more: Any) -> list[int]:
        """Numbers of what is recommended, in order."""
        body = {
            "liked": [{"video_id": self._ids[row]} for row in liked],
            "disliked": [{"video_id": self._ids[row]} for row in disliked],
            "limit": TOP,
            **more,
        }
        began = time.perf_counter()
        answer = (await self._client.post("/v1/recommendations", json=body)).raise_for_status()
        self.took_s.append(time.perf_counter() - began)
        again = (await self._client.post("/v1/recommendations", json=body)).raise_for_status()
        self.questions += 1
        self.unequal += answer.content != again.content
        return [self._where[one["video_id"]] for one in answer.json()["data"]]


async def recommended(database: Database, client: httpx.AsyncClient, tenant: str, singles: int) -> dict[str, Any]:
    """Everything about recommendations."""
    items, vectors, cluster = tastes.planted(singles)
    where = {}
    for row, title in enumerate(items):
        where[await put(database, tenant, title, vectors[row : row + 1], np.zeros(1), None)] = row
    asker = Asker(client, where)
    out: dict[str, Any] = {"items": len(items), "clusters": tastes.CLUSTERS, "members": tastes.MEMBERS}
    out |= await _hits(asker, vectors, cluster)
    out["diversity"] = await _curve(asker, vectors, cluster)
    start = await asker.picked([], limit=tastes.CLUSTERS)
    out["start"] = {"covered": round(float((vectors @ vectors[start].T).max(1).mean()), 4)}
    out["questions"], out["unequal_answers"] = asker.questions, asker.unequal
    out["ms_a_question"] = round(1000 * float(np.median(asker.took_s)), 1)
    spreads = [row["spread"] for row in out["diversity"]]
    rises = all(later >= earlier for earlier, later in pairwise(spreads)) and spreads[-1] > spreads[0]
    out["met"] = out["one_interest"]["hit_rate"] >= GOAL_HIT_RATE and rises and not asker.unequal
    return out


async def _hits(asker: Asker, vectors: np.ndarray, cluster: np.ndarray) -> dict[str, Any]:
    """As `tastes.hits`."""
    rng = np.random.default_rng([tastes.SEED, 1])
    numbers = np.arange(tastes.CLUSTERS)
    means = np.stack([vectors[cluster == number].mean(0) for number in numbers])
    one, two, despite = [], [], []
    for wanted in numbers:
        liked = rng.choice(np.flatnonzero(cluster == wanted), 2, replace=False)
        one.append(cluster[await asker.picked(liked)] == wanted)
        other = int(rng.choice(np.delete(numbers, wanted)))
        more = rng.choice(np.flatnonzero(cluster == other), 2, replace=False)
        found = cluster[await asker.picked([*liked, *more])]
        two.append((wanted in found) and (other in found))
        near = int(np.argsort(-(means @ vectors[liked].mean(0)))[1])
        against = rng.choice(np.flatnonzero(cluster == near), 2, replace=False)
        found = cluster[await asker.picked(liked, against)]
        despite.append((wanted in found, float(np.mean(found == near))))
    return {
        "one_interest": {
            "hit_rate": round(float(np.mean([hits.any() for hits in one])), 4),
            "share": round(float(np.mean([hits.mean() for hits in one])), 4),
        },
        "two_interests_both": round(float(np.mean(two)), 4),
        "despite": {
            "hit_rate": round(float(np.mean([found for found, _ in despite])), 4),
            "share_of_disliked": round(float(np.mean([share for _, share in despite])), 4),
        },
    }


async def _curve(asker: Asker, vectors: np.ndarray, cluster: np.ndarray) -> list[dict[str, float]]:
    """Spread of ten picks and their likeness to what was liked, at each setting of the trade-off."""
    rows = []
    for diversity in tastes.DIVERSITIES:
        spreads, near = [], []
        for wanted in range(tastes.CLUSTERS):
            liked = np.flatnonzero(cluster == wanted)[:2]
            picks = await asker.picked(liked, diversity=diversity)
            spreads.append(spread(vectors[picks]))
            near.append((vectors[picks] @ vectors[liked].T).max(1).mean())
        rows.append(
            {
                "diversity": diversity,
                "spread": round(float(np.mean(spreads)), 4),
                "similarity": round(float(np.mean(near)), 4),
            }
        )
    return rows
