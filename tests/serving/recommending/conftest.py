"""A library of planted scenes in the space of the bundled model, put in as jobs put vectors in."""

from dataclasses import dataclass

import numpy as np
import pytest

from models.training.scenes import Background, Object, Scene, render
from pipeline.finding import unit
from pipeline.indexing import Index
from pipeline.report import Segment, Source
from serving.db.database import SYSTEM, Database
from serving.db.media import Video
from serving.search.writing import write_vectors
from tests.serving.api.conftest import call, url
from tests.serving.jobs.crashing import loaded

__all__ = ["call", "url"]

#: Each is shown by so many videos, in places of their own.
SCENES = ("red circle", "blue square", "green star", "yellow heart", "purple triangle")
MEMBERS = 5

#: Samples of a video, one a second, and those of each of its two key segments.
SAMPLES, A_SEGMENT = 6, 3

SIZE = (96, 72)


def name_of(scene: int, member: int, tenant: str = "a") -> str:
    """Id of a video."""
    return f"vid_{tenant.upper()}{scene:012d}{member:013d}"


@dataclass(frozen=True)
class Planted:
    """Videos by (scene, member)."""

    vectors: dict[tuple[int, int], np.ndarray]
    """float32 [SAMPLES, D]."""
    encoder: object


@pytest.fixture(scope="session")
def planted() -> Planted:
    """Vectors of drawn scenes by the bundled model."""
    encoder, rng = loaded(), np.random.default_rng(5)
    vectors = {}
    for scene, name in enumerate(SCENES):
        color, shape = name.split()
        for member in range(MEMBERS):
            size = rng.uniform(0.35, 0.6)
            places = rng.uniform(0.35, 0.65, (SAMPLES, 2))
            gray = str(rng.choice(["gray", "white", "black"]))
            pixels = [
                render(Scene(Background(color=gray), (Object(shape, color, x=x, y=y, size=size),)), *SIZE)
                for x, y in places
            ]
            vectors[scene, member] = encoder.run(np.stack(pixels))
    return Planted(vectors, encoder)


async def put(database: Database, planted: Planted, tenant: str = "a", labels: tuple[str, ...] = ()) -> None:
    """All of it, as a tenant's library; even members have `labels`."""
    at_s = np.arange(SAMPLES, dtype=np.float64)
    for (scene, member), vectors in planted.vectors.items():
        name = name_of(scene, member, tenant)
        parts = [slice(first, first + A_SEGMENT) for first in range(0, SAMPLES, A_SEGMENT)]
        index = Index(
            space=planted.encoder.info.space,  # type: ignore[attr-defined]
            model="bundled",
            likelihood=planted.encoder.likelihood,  # type: ignore[attr-defined]
            pts_s=at_s,
            starts_s=at_s,
            ends_s=at_s + 1,
            shots=np.zeros(SAMPLES, np.int64),
            vectors=vectors,
            segments=tuple((place, _segment(part, 0.5 + 0.1 * place)) for place, part in enumerate(parts)),
            segment_vectors=np.stack([unit(vectors[part].mean(0)) for part in parts]).astype(np.float32),
        )
        async with database.write("video.write", SYSTEM) as session:
            session.add(
                Video(
                    id=name,
                    tenant_id=tenant,
                    title=f"{SCENES[scene]} {member}",
                    labels=list(labels) if member % 2 == 0 else [],
                    size_bytes=1,
                    sha256=name,
                    object_key=name,
                    status="analyzed",
                )
            )
            await session.flush()
            await write_vectors(session, tenant, name, index)


def _segment(part: slice, score: float) -> Segment:
    return Segment(
        start_s=float(part.start),
        end_s=float(part.stop),
        score=score,
        signals={"motion": score},
        reasons=("it moves",),
        thumbnail_s=part.start + 1.0,
        source=Source(name="test", version="1"),
    )
