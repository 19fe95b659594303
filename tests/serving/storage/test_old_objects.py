"""Videos from before objects were sealed: they are read as they are, and sealed."""

import asyncio
import hashlib
import os
import subprocess
import sys

import pytest

from pipeline.errors import Altered
from serving.db import failpoints
from serving.jobs import submission
from serving.requests import JobRequest
from serving.storage import old_objects
from serving.storage.opening import opened
from serving.storage.store import video_at
from tests.serving.commands import ROOT
from tests.serving.sealing import kept, store_at

PLAIN = os.urandom(3 << 20)


async def _old(world, folder, plain: bytes = PLAIN) -> None:
    """The video of tenant `a`, as it was kept before."""
    (folder / "videos").mkdir(parents=True)
    (folder / "videos" / "vid_a").write_bytes(plain)
    sha256 = hashlib.sha256(PLAIN).hexdigest()
    await world.change("UPDATE video SET object_key = 'videos/vid_a', sha256 = :sha WHERE id = 'vid_a'", sha=sha256)


async def _object(world) -> str:
    ((key,),) = await world.sql("SELECT object_key FROM video WHERE id = 'vid_a'")
    return key


def _files(folder) -> list[str]:
    return sorted(f"videos/{file.name}" for file in (folder / "videos").iterdir())


def test_it_is_read_as_it_is_and_sealed_once(run, tmp_path):
    async def body(world):
        store = store_at(tmp_path)
        await _old(world, tmp_path)
        async with opened(world.database, store, "a", "videos/vid_a") as file:
            assert file == tmp_path / "videos" / "vid_a"
        # As two workers would; the other video's object is gone, which keeps nobody.
        done = await asyncio.gather(*(old_objects.seal(world.database, store) for _ in range(2)))
        assert sum(done) == 1
        key = await _object(world)
        assert _files(tmp_path) == [key]
        assert await kept(world.database, store, key) == PLAIN
        blob = (tmp_path / key).read_bytes()
        assert not any(PLAIN[at : at + 16] in blob for at in range(0, len(PLAIN), 100_000))
        assert await old_objects.seal(world.database, store) == 0

    run(body)


def test_one_that_a_job_reads_is_left_alone(run, tmp_path):
    async def body(world):
        store = store_at(tmp_path)
        await _old(world, tmp_path)
        await submission.submit(world.database, "a", [JobRequest(video_id="vid_a")])
        await world.change("UPDATE job SET state = 'running'")
        assert await old_objects.seal(world.database, store) == 0
        assert await _object(world) == "videos/vid_a"
        await world.change("UPDATE job SET state = 'failed'")
        assert await old_objects.seal(world.database, store) == 1

    run(body)


def test_bytes_that_are_not_those_that_came_are_not_sealed(run, tmp_path, caplog):
    async def body(world):
        await _old(world, tmp_path, PLAIN[:-1] + b"x")
        assert await old_objects.seal(world.database, store_at(tmp_path)) == 0
        assert _files(tmp_path) == ["videos/vid_a"]
        assert "not those that came" in caplog.text

    run(body)


_DYING = """
import asyncio, sys
from pathlib import Path
from serving.db.database import Database
from serving.storage import old_objects
from tests.serving.sealing import store_at
asyncio.run(old_objects.seal(Database(sys.argv[1]), store_at(Path(sys.argv[2]))))
"""


@pytest.mark.parametrize("point", ["storage.seal:before", "storage.seal:after"])
def test_dying_over_it_loses_nothing(run, url, tmp_path, point):
    async def body(world):
        store = store_at(tmp_path)
        await _old(world, tmp_path)
        command = (sys.executable, "-c", _DYING, url, str(tmp_path))
        environment = os.environ | {failpoints.VARIABLE: point, "PYTHONPATH": str(ROOT)}
        died = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, env=environment, timeout=120)
        assert died.returncode == failpoints.EXIT
        await old_objects.seal(world.database, store)
        key = await _object(world)
        assert await kept(world.database, store, key) == PLAIN
        # What is left over is named by nothing, and swept.
        assert key in _files(tmp_path)
        assert len(_files(tmp_path)) == 2

    run(body)


def test_an_unsealed_object_is_not_taken_for_a_sealed_one(run, tmp_path):
    async def body(world):
        store = store_at(tmp_path)
        await _old(world, tmp_path)
        await old_objects.seal(world.database, store)
        key = await _object(world)
        (tmp_path / key).write_bytes(PLAIN)
        with pytest.raises(Altered):
            await kept(world.database, store, key)
        # Nor is a sealed one given out as it is, where its key is gone.
        await store.put(video_at("a", "videos/other"), _once(PLAIN))
        with pytest.raises(FileNotFoundError, match="destroyed"):
            await anext(store.get(video_at("a", "videos/other"), None))

    run(body)


async def _once(content: bytes):
    yield content
