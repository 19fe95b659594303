"""Videos from before objects were sealed: they are read as they are, and sealed."""

import asyncio
import hashlib
import os
import subprocess
import sys

import pytest

from pipeline.errors import Altered
from serving.db import failpoints
from serving.errors import Conflict
from serving.storage import old_objects
from serving.storage.opening import opened
from serving.storage.store import Store, video_at
from serving.workers import Presence
from tests.serving.commands import ROOT, here
from tests.serving.sealing import folder_at, kept

PLAIN = os.urandom(3 << 20)


async def _old(world, folder, plain: bytes = PLAIN) -> None:
    """The video of tenant `a`, as it was kept before."""
    (folder / "videos").mkdir(parents=True)
    (folder / "videos" / "vid_a").write_bytes(plain)
    sha256 = hashlib.sha256(PLAIN).hexdigest()
    await world.change("UPDATE video SET object_key = 'videos/vid_a', sha256 = :sha WHERE id = 'vid_a'", sha=sha256)


def _worker(world) -> Presence:
    return Presence(world.database, "wrk_1", slots=1, busy=lambda: 0, models=lambda: (), changed=asyncio.Event())


async def _object(world) -> str:
    ((key,),) = await world.sql("SELECT object_key FROM video WHERE id = 'vid_a'")
    return key


def _files(folder) -> list[str]:
    return sorted(f"videos/{file.name}" for file in (folder / "videos").iterdir())


def test_it_is_read_as_it_is_and_sealed_once(run, tmp_path):
    async def body(world):
        store = folder_at(tmp_path)
        await _old(world, tmp_path)
        async with opened(world.database, store, "a", "videos/vid_a") as file:
            assert file == tmp_path / "videos" / "vid_a"
        told = []
        done = await old_objects.seal(world.database, store, lambda *said: told.append(said))
        # The other video's object is gone, which keeps nobody.
        assert (done.sealed, list(done.failed)) == (1, ["vid_b"])
        assert told == list(done.failed.items())
        key = await _object(world)
        assert _files(tmp_path) == [key]
        assert await kept(world.database, store, key) == PLAIN
        blob = (tmp_path / key).read_bytes()
        assert not any(PLAIN[at : at + 16] in blob for at in range(0, len(PLAIN), 100_000))
        assert (await old_objects.seal(world.database, store)).sealed == 0

    run(body)


def test_nothing_is_sealed_while_a_worker_is_alive(run, tmp_path):
    async def body(world):
        await _old(world, tmp_path)
        worker = _worker(world)
        await worker.beat()
        with pytest.raises(Conflict, match="stop"):
            await old_objects.seal(world.database, folder_at(tmp_path))
        assert _files(tmp_path) == [await _object(world)] == ["videos/vid_a"]
        await worker.leave()
        assert (await old_objects.seal(world.database, folder_at(tmp_path))).sealed == 1

    run(body)


def test_a_worker_that_comes_while_a_video_is_sealed_finds_it(run, tmp_path):
    async def body(world):
        await _old(world, tmp_path)
        worker = _worker(world)

        class Meanwhile(Store):
            async def put(self, what, chunks):
                await worker.beat()
                return await super().put(what, chunks)

        with pytest.raises(Conflict, match="stop"):
            await old_objects.seal(world.database, Meanwhile(tmp_path, folder_at(tmp_path).keyring))
        assert _files(tmp_path) == [await _object(world)] == ["videos/vid_a"]

    run(body)


def test_one_process_at_a_time_seals(run, tmp_path):
    async def body(world):
        await _old(world, tmp_path)
        done = await asyncio.gather(
            *(old_objects.seal(world.database, folder_at(tmp_path)) for _ in range(2)), return_exceptions=True
        )
        assert sorted(type(one).__name__ for one in done) == ["Conflict", "Sealed"]
        assert len(_files(tmp_path)) == 1

    run(body)


def test_bytes_that_are_not_those_that_came_are_not_sealed(run, tmp_path):
    async def body(world):
        await _old(world, tmp_path, PLAIN[:-1] + b"x")
        done = await old_objects.seal(world.database, folder_at(tmp_path))
        assert done.sealed == 0
        assert "not those that came" in done.failed["vid_a"]
        assert _files(tmp_path) == ["videos/vid_a"]

    run(body)


def test_an_object_that_is_written_wrong_takes_nothing_away(run, tmp_path):
    async def body(world):
        await _old(world, tmp_path)

        class Wrong(Store):
            async def put(self, what, chunks):
                written = await super().put(what, chunks)
                blob = bytearray((tmp_path / what.blob).read_bytes())
                blob[1_000_000] ^= 1
                (tmp_path / what.blob).write_bytes(blob)
                return written

        done = await old_objects.seal(world.database, Wrong(tmp_path, folder_at(tmp_path).keyring))
        assert (done.sealed, "vid_a" in done.failed) == (0, True)
        assert _files(tmp_path) == [await _object(world)] == ["videos/vid_a"]

    run(body)


def test_a_fault_of_the_disk_keeps_nobody_else(run, tmp_path):
    async def body(world):
        await _old(world, tmp_path)
        (tmp_path / "videos" / "vid_a").rename(tmp_path / "videos" / "vid_b")
        # A folder where a file should be: obstore says that in words of its own.
        (tmp_path / "videos" / "vid_a").mkdir()
        sha256 = hashlib.sha256(PLAIN).hexdigest()
        await world.change("UPDATE video SET object_key = 'videos/vid_b', sha256 = :sha WHERE id = 'vid_b'", sha=sha256)
        done = await old_objects.seal(world.database, folder_at(tmp_path))
        assert (done.sealed, list(done.failed)) == (1, ["vid_a"])

    run(body)


def test_the_command_tells_what_it_did(run, url, tmp_path):
    async def old(world):
        await _old(world, tmp_path / "data" / "objects")

    run(old)
    settings = {"AUTOMATIONS_SERVER__DATABASE_URL": url, "AUTOMATIONS_SERVER__DATA_DIR": tmp_path / "data"}
    said = here("keys", "seal", **settings)
    assert said.returncode == 1
    assert said.stdout == "1 videos sealed, 1 cannot be; 0 rows sealed\n"
    assert "vid_b cannot be sealed" in said.stderr


_DYING = """
import asyncio, sys
from pathlib import Path
from serving.db.database import Database
from serving.storage import old_objects
from tests.serving.sealing import folder_at
asyncio.run(old_objects.seal(Database(sys.argv[1]), folder_at(Path(sys.argv[2]))))
"""


@pytest.mark.parametrize("point", ["storage.seal:before", "storage.seal:after"])
def test_dying_over_it_loses_nothing(run, url, tmp_path, point):
    async def body(world):
        store = folder_at(tmp_path)
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
        store = folder_at(tmp_path)
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
