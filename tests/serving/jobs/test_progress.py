"""What was finished is kept and what there is to tell is told, however often it takes."""

import asyncio
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from serving.db.database import SYSTEM
from serving.db.statements import execute
from serving.ending import LIMIT_S
from serving.jobs import progress, submission
from serving.jobs.progress import Progress
from serving.jobs.submission import JobRequest
from tests.serving.commands import ROOT, environment
from tests.serving.jobs.freezing import line
from tests.serving.jobs.test_loops import _gone, _until
from tests.serving.jobs.test_racing import _until_waiting


class Finished:
    """An engine that has finished some Clips since it was asked last, see `CheckpointedEngine.new`."""

    def __init__(self) -> None:
        self.fresh: list[tuple[str, bytes]] = []

    def new(self) -> list[tuple[str, bytes]]:
        """What has come."""
        new, self.fresh = self.fresh, []
        return new


@pytest.fixture(autouse=True)
def often(monkeypatch) -> None:
    """What is done every second is done oftener."""
    monkeypatch.setattr(progress, "EVERY_S", 0.02)


async def _claimed(world):
    await submission.submit(world.database, "a", [JobRequest(video_id="vid_a")])
    return await world.queue.claim("w")


@asynccontextmanager
async def _locked(world, table: str):
    """Nobody writes to this table while the block lasts."""
    async with world.database.write("clean.expired", SYSTEM) as session:
        await execute(session, text(f"LOCK TABLE {table} IN SHARE MODE"))
        yield


async def _kept(world) -> list[str]:
    return [clip for (clip,) in await world.sql("SELECT clip FROM checkpoint ORDER BY clip")]


def test_what_could_not_be_written_is_written_later(run, caplog):
    async def body(world):
        lease, engine = await _claimed(world), Finished()
        says = f"the progress of {lease.job_id}"
        async with Progress(lease, world.queue, engine) as telling:
            async with _gone(world, caplog, "checkpoint", says):
                engine.fresh = [("first", b"1")]
            engine.fresh = [("second", b"2")]

            async def both() -> bool:
                return await _kept(world) == ["first", "second"]

            await _until(both)
            caplog.clear()
            async with _gone(world, caplog, "event", says):
                telling.tell("frames", 1, 2)
                telling.found(3.0, ())

            async def told() -> bool:
                rows = await world.sql("SELECT kind FROM event ORDER BY number")
                return [kind for (kind,) in rows] == ["queued", "running", "progress", "candidates"]

            await _until(told)

    run(body)


def test_what_was_being_written_when_it_was_stopped_is_kept(run):
    async def body(world):
        lease, engine = await _claimed(world), Finished()
        inside = asyncio.Event()

        async def work() -> None:
            async with Progress(lease, world.queue, engine):
                engine.fresh = [("first", b"1")]
                inside.set()
                await asyncio.Event().wait()

        working = asyncio.create_task(work())
        await inside.wait()
        async with _locked(world, "checkpoint"):
            await _until_waiting(world, 1)
            working.cancel()
            # The write is given up, and tried a last time.
            await asyncio.sleep(0.1)
        await asyncio.gather(working, return_exceptions=True)
        assert await _kept(world) == ["first"]

    run(body)


@pytest.mark.slow
def test_a_worker_ends_within_ten_seconds_of_the_signal_though_its_database_hangs(run, tmp_path):
    async def body(world):
        with tempfile.TemporaryDirectory() as folder:
            async with line(world.database.url, Path(folder)) as frozen:
                env = {"DATABASE_URL": frozen.url, "DATA_DIR": tmp_path}
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-m", "serving.cli", "worker"),
                    cwd=ROOT,
                    env=environment({f"AUTOMATIONS_SERVER__{name}": value for name, value in env.items()}),
                )
                try:

                    async def there() -> bool:
                        return bool(await world.sql("SELECT 1 FROM worker"))

                    await _until(there, 60)
                    await asyncio.sleep(2)
                    frozen.freeze()
                    await asyncio.sleep(1)
                    process.terminate()
                    assert await asyncio.wait_for(process.wait(), LIMIT_S + 3) == 0
                finally:
                    if process.returncode is None:
                        process.kill()

    run(body)
