"""What goes on and on goes on after any fault, and says so once: here a table is gone for a while, as in a repair."""

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest

from pipeline.errors import ModelUnavailable
from serving import claiming, worker
from serving.claiming import Bounds, Claimer
from serving.jobs import following, submission
from serving.jobs.events import CHANNEL
from serving.jobs.following import Following
from serving.jobs.listening import Listener
from serving.jobs.queue import Queue
from serving.jobs.running import Tools, _watch
from serving.jobs.submission import JobRequest
from serving.worker import Worker
from serving.workers import Presence
from tests.serving.sealing import store_at


class NoModels:
    """A worker's, who has none."""

    async def get(self, model: str, also=()):
        """See `Toolkits.get`."""
        raise ModelUnavailable(model)


@pytest.fixture(autouse=True)
def often(monkeypatch) -> None:
    """What is done every second is done oftener."""
    monkeypatch.setattr(worker, "REAP_S", 0.02)
    monkeypatch.setattr(following, "POLL_S", 0.02)
    monkeypatch.setattr(claiming, "POLL_S", 0.02)


async def _until(what, timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not await what():
            await asyncio.sleep(0.01)


def _logged(caplog, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


@asynccontextmanager
async def _gone(world, caplog, table: str, says: str):
    """Without this table while the block lasts, and until somebody has missed it."""
    await world.change(f"ALTER TABLE {table} RENAME TO elsewhere")
    yield
    await _until(lambda: _async(_logged(caplog, says)))
    await asyncio.sleep(0.1)
    await world.change(f"ALTER TABLE elsewhere RENAME TO {table}")
    assert _logged(caplog, says) == 1


async def _async(value):
    return value


async def _claimed(world, video: str = "vid_a"):
    await submission.submit(world.database, "a", [JobRequest(video_id=video)])
    return await world.queue.claim("w")


def test_dead_workers_are_looked_for(run, caplog, tmp_path):
    async def body(world):
        lease = await _claimed(world)
        stop = asyncio.Event()
        tools = Tools(world.queue, store_at(tmp_path), NoModels())
        working = asyncio.create_task(Worker(tools, slots=1).serve(stop))
        async with _gone(world, caplog, "job", "dead workers are looked for"):
            pass
        await world.change("UPDATE job SET lease_until = now() - interval '1 s'")

        async def reaped() -> bool:
            return (await world.sql("SELECT deaths FROM job WHERE id = :id", id=lease.job_id))[0][0] == 1

        await _until(reaped)
        stop.set()
        await working

    run(body)


def test_what_is_due_is_taken_on(caplog):
    class Due:
        """Fails at first, and then has one thing to do."""

        def __init__(self) -> None:
            self.asked, self.done = 0, asyncio.Event()

        async def claim(self, most, busy):
            self.asked += 1
            if self.asked < 4:
                raise KeyError(self.asked)
            return [] if self.done.is_set() else ["something"]

        def owner(self, claim, /):
            return claim

        async def work(self, claim, /):
            self.done.set()

    async def body():
        due, stop = Due(), asyncio.Event()
        serving = asyncio.create_task(Claimer(due, Bounds(slots=1, per_owner=1)).serve(stop))
        await asyncio.wait_for(due.done.wait(), 20)
        stop.set()
        await serving

    asyncio.run(body())
    assert _logged(caplog, "what is due is taken on") == 1


def test_a_worker_says_how_it_is(run, caplog):
    async def body(world):
        stop = asyncio.Event()
        presence = Presence(
            world.database, "wrk_1", slots=1, busy=lambda: 0, models=tuple, changed=asyncio.Event(), beat_s=0.02
        )
        working = asyncio.create_task(presence.serve(stop))
        async with _gone(world, caplog, "worker", "a worker says how it is"):
            pass
        await world.change("DELETE FROM worker")

        async def there() -> bool:
            return bool(await world.sql("SELECT 1 FROM worker"))

        await _until(there)
        stop.set()
        await working
        assert not await there()

    run(body)


def test_news_of_jobs_are_looked_for(run, caplog):
    async def body(world):
        lease = await _claimed(world)
        # Nobody hears anything: what is found is found by looking.
        listener = Listener(world.database.url, (CHANNEL,))
        async with Following(world.database, listener) as waiting:
            told = asyncio.create_task(waiting.beyond("a", lease.job_id, 2))
            async with _gone(world, caplog, "job", "news of jobs are looked for"):
                pass
            assert not told.done()
            await world.queue.progress(lease, {"done": 1})
            await asyncio.wait_for(told, 20)

    run(body)


def test_a_lease_is_renewed(run, caplog):
    async def body(world):
        queue = Queue(world.database, world.keyring, lease_s=60.0)
        lease = await _claimed(world)
        watching = asyncio.create_task(_watch(lease, queue))
        async with _gone(world, caplog, "job", f"the lease of {lease.job_id} is renewed"):
            pass
        await submission.cancel(world.database, "a", lease.job_id)
        assert await asyncio.wait_for(watching, 20) is True

    caplog.set_level(logging.INFO)
    run(body)
