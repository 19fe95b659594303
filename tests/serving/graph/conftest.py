"""What tests of the graph share. Whoever needs a Ray cluster has one for its module: a start takes ten seconds."""

import asyncio
import gc
import threading
from pathlib import Path

import numpy as np
import pytest

from pipeline.synthesis import Encoding, write_video
from serving.graph import calling, generations
from tests.serving.graph.worlds import World


@pytest.fixture
def swapped(monkeypatch):
    """Runs `async def test(world)` with generations of fakes."""
    # What torch has to give back is not what is tested here.
    monkeypatch.setattr(generations, "free_memory", gc.collect)

    def run(body, **options):
        async def main():
            world = World(**options)
            try:
                await body(world)
            finally:
                for event in world.loading.values():
                    if isinstance(event, threading.Event):
                        event.set()
                await world.generations.close()
                assert all(made.closed.wait(10) for made in world.made), "some models were never closed"

        asyncio.run(main())

    return run


@pytest.fixture
def quick(monkeypatch):
    """Waits that are seconds elsewhere."""
    monkeypatch.setattr(calling, "_AGAIN_S", 0.001)
    monkeypatch.setattr(calling, "_MAX_AGAIN_S", 0.01)
    monkeypatch.setattr(calling, "_PROBE_S", 0.05)
    monkeypatch.setattr(calling, "_DESCRIBE_S", 0.2)


@pytest.fixture(scope="session")
def film(tmp_path_factory) -> Path:
    """Twelve seconds, cut twice, in groups of a second and a half: several Clips, a few shots, something that moves."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_video(path, pictures(12 * 12), fps=12, encoding=Encoding(gop=18))


@pytest.fixture(scope="session")
def long_group(tmp_path_factory) -> Path:
    """Nine seconds in one group of pictures, all of which are wanted: one chain of seven parts."""
    path = tmp_path_factory.mktemp("film") / "long.mp4"
    return write_video(
        path, pictures(9 * 12), fps=12, encoding=Encoding(gop=1000, options={"x264-params": "scenecut=0"})
    )


def pictures(count: int) -> list[np.ndarray]:
    """uint8 [96, 160, 3] each: a box that moves over a texture, other ones after a third and two thirds."""
    rng = np.random.default_rng(0)
    grounds = rng.integers(0, 256, (3, 12, 20, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    found = []
    for number in range(count):
        picture = grounds[3 * number // count].copy()
        left = number * 3 % 120
        picture[20:60, left : left + 40] = (number * 2 % 256, 255 - number % 256, 90 * (3 * number // count))
        found.append(picture)
    return found


@pytest.fixture
def engine_run():
    """Runs `async def test(engine)` with a replica that has the bundled model."""
    # Not everybody here needs a network.
    from serving.graph.engine import EngineReplica
    from tests.serving.graph.asking import PLAIN

    def run(body, config=PLAIN):
        async def main():
            engine = EngineReplica("default", "one")
            try:
                await engine.reconfigure(config)
                await body(engine)
            finally:
                await engine.close()

        asyncio.run(main())

    return run
