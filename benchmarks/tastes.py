"""Do recommendations hit what was planted, do they spread with the parameter, and what do they cost?

Part of `python -m benchmarks copies`. Clusters are planted: 40 scenes of the bundled model's renderer in 12
arrangements each (other places, sizes, exposures), among 1,200 scenes that belong to none. Somebody likes two
arrangements of a scene, or two of each of two scenes, or likes one scene and dislikes the one most like it.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any
from unittest import mock

import numpy as np

from models import catalog
from models.training.sampling import sample_scene
from models.training.scenes import Scene, render
from pipeline import taste
from pipeline.diversity import diversify, spread
from pipeline.taste import Taste, beginning, recommend

SEED = 55_000_001
CLUSTERS, MEMBERS, SINGLES = 40, 12, 1200
SIZE = (160, 96)
TOP = 10
DIVERSITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
GOAL_HIT_RATE = 0.95


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Everything, for the result file."""
    items, vectors, cluster = planted(200 if quick else SINGLES)
    out: dict[str, Any] = {"items": len(items), "clusters": CLUSTERS, "members": MEMBERS}
    for name, share in (("nearest", 0.0), ("both", taste.MEAN_SHARE), ("mean", 1.0)):
        with mock.patch.object(taste, "MEAN_SHARE", share):
            out[name] = hits(items, vectors, cluster)
    rows = curve(items, vectors, cluster)
    out["diversity"] = rows
    out["beginning"] = start(items, vectors, cluster)
    out["cost"] = cost(20_000 if quick else 100_000)
    spreads = [row["spread"] for row in rows]
    rises = all(later > earlier for earlier, later in pairwise(spreads))
    out["met"] = out["both"]["one_interest"]["hit_rate"] >= GOAL_HIT_RATE and rises
    return out


def planted(singles: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Ids, float32 [N, D] of the bundled model, and the cluster of each item (-1: none)."""
    rng = np.random.default_rng(SEED)
    scenes: list[Scene] = []
    cluster: list[int] = []
    while len(scenes) < CLUSTERS * MEMBERS:
        scene = sample_scene(rng)
        if scene.objects:
            cluster += [len(scenes) // MEMBERS] * MEMBERS
            scenes += [_arranged(scene, rng) for _ in range(MEMBERS)]
    scenes += [sample_scene(rng) for _ in range(singles)]
    cluster += [-1] * singles
    model = catalog.load("bundled").model
    chunks = [np.stack([render(one, *SIZE) for one in scenes[at : at + 64]]) for at in range(0, len(scenes), 64)]
    vectors = np.concatenate([model.run(chunk) for chunk in chunks])
    return [f"item-{number:05d}" for number in range(len(scenes))], vectors, np.array(cluster)


def _arranged(scene: Scene, rng: np.random.Generator) -> Scene:
    """The same things in other places, and in another light."""
    moved = tuple(
        replace(
            item,
            x=float(np.clip(item.x + rng.uniform(-0.15, 0.15), 0.1, 0.9)),
            y=float(np.clip(item.y + rng.uniform(-0.15, 0.15), 0.1, 0.9)),
            size=item.size * float(rng.uniform(0.85, 1.15)),
        )
        for item in scene.objects
    )
    light = float(rng.uniform(0.9, 1.1))
    camera = replace(scene.camera, exposure=scene.camera.exposure * light, seed=int(rng.integers(2**31)))
    return replace(scene, objects=moved, camera=camera)


def _liking(items: Sequence[str], vectors: np.ndarray, liked: Iterable[int], disliked: Iterable[int] = ()) -> Taste:
    likes, dislikes = list(liked), list(disliked)
    return Taste(
        tuple(items[row] for row in likes),
        vectors[likes],
        tuple(items[row] for row in dislikes),
        vectors[dislikes],
    )


def _picked(
    items: Sequence[str], vectors: np.ndarray, cluster: np.ndarray, who: Taste, diversity: float = 0.3
) -> np.ndarray:
    """Clusters of the ten that are recommended."""
    where = {item: row for row, item in enumerate(items)}
    return np.array(
        [cluster[where[one.item]] for one in recommend(who, items, vectors, TOP, diversity=diversity, same_from=2.0)]
    )


def hits(items: Sequence[str], vectors: np.ndarray, cluster: np.ndarray) -> dict[str, Any]:
    """Hit rate at 10 (somebody's scene is among the ten) and share of the ten; see the module for the three of them."""
    rng = np.random.default_rng([SEED, 1])
    one, two, despite = [], [], []
    for wanted in range(CLUSTERS):
        rows = np.flatnonzero(cluster == wanted)
        liked = rng.choice(rows, 2, replace=False)
        one.append(_picked(items, vectors, cluster, _liking(items, vectors, liked)) == wanted)
        other = int(rng.choice(np.delete(np.arange(CLUSTERS), wanted)))
        more = rng.choice(np.flatnonzero(cluster == other), 2, replace=False)
        found = _picked(items, vectors, cluster, _liking(items, vectors, [*liked, *more]))
        two.append((wanted in found) and (other in found))
        # The cluster that is nearest to the liked ones, disliked.
        means = np.stack([vectors[cluster == number].mean(0) for number in range(CLUSTERS)])
        near = int(np.argsort(-(means @ vectors[liked].mean(0)))[1])
        against = rng.choice(np.flatnonzero(cluster == near), 2, replace=False)
        found = _picked(items, vectors, cluster, _liking(items, vectors, liked, against))
        despite.append((wanted in found, float(np.mean(found == near))))
    return {
        "one_interest": {
            "hit_rate": round(float(np.mean([one_of.any() for one_of in one])), 4),
            "share": round(float(np.mean(one)), 4),
        },
        "two_interests_both": round(float(np.mean(two)), 4),
        "despite": {
            "hit_rate": round(float(np.mean([found for found, _ in despite])), 4),
            "share_of_disliked": round(float(np.mean([share for _, share in despite])), 4),
        },
    }


def curve(items: Sequence[str], vectors: np.ndarray, cluster: np.ndarray) -> list[dict[str, float]]:
    """Spread and relevance of ten picks at each setting of the trade-off, means over one person a cluster."""
    where = {item: row for row, item in enumerate(items)}
    rows = []
    for diversity in DIVERSITIES:
        spreads, worths = [], []
        for wanted in range(CLUSTERS):
            who = _liking(items, vectors, np.flatnonzero(cluster == wanted)[:2])
            picks = recommend(who, items, vectors, TOP, diversity=diversity, same_from=2.0)
            spreads.append(spread(vectors[[where[pick.item] for pick in picks]]))
            worths.append(np.mean([pick.relevance for pick in picks]))
        rows.append(
            {
                "diversity": diversity,
                "spread": round(float(np.mean(spreads)), 4),
                "relevance": round(float(np.mean(worths)), 4),
            }
        )
    return rows


def start(items: Sequence[str], vectors: np.ndarray, cluster: np.ndarray) -> dict[str, float]:
    """Of 40 picks for somebody unknown: how near the library is to the nearest of them, and to the 40 best."""
    quality = np.random.default_rng([SEED, 2]).uniform(0, 1, len(items))
    where = {item: row for row, item in enumerate(items)}
    chosen = [where[pick.item] for pick in beginning(items, vectors, quality, CLUSTERS)]
    best = np.argsort(-quality)[:CLUSTERS]
    return {
        "covered": round(float((vectors @ vectors[chosen].T).max(1).mean()), 4),
        "quality": round(float(quality[chosen].mean()), 4),
        "covered_by_best_quality": round(float((vectors @ vectors[best].T).max(1).mean()), 4),
    }


def cost(count: int) -> dict[str, float]:
    """CPU seconds for twenty picks of so many candidates of 512 dimensions."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((count, 512)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    items = [f"{number:07d}" for number in range(count)]
    relevance = vectors @ vectors[0]
    began = time.process_time()
    diversify(items, vectors, relevance, 20)
    diversify_s = time.process_time() - began
    began = time.process_time()
    beginning(items, vectors, rng.uniform(0, 1, count), 20)
    return {
        "candidates": count,
        "diversify_s": round(diversify_s, 3),
        "beginning_s": round(time.process_time() - began, 3),
    }
