"""The backlog as the controller sees it: fresh, or said to be unknown, and nobody waits for it."""

import asyncio
import gc
import socket
import threading
import time

import pytest
from sqlalchemy import text

from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.graph.backlog import BacklogWatch, Reading, database_url
from serving.jobs.backlog import Backlog


@pytest.fixture
def watched():
    """Makes watches, and ends them."""
    made = []

    def make(url: str, **options) -> BacklogWatch:
        options = {"poll_s": 0.1, "stale_s": 60.0, "timeout_s": 5.0} | options
        made.append(BacklogWatch(url=lambda: url, **options))
        return made[-1]

    yield make
    for watch in made:
        watch.close()


def until(watch: BacklogWatch, done, what: str, timeout_s: float = 20.0) -> Reading:
    """The first reading of which `done` is true."""
    end = time.monotonic() + timeout_s
    while not done(reading := watch.latest()):
        assert time.monotonic() < end, f"waited {timeout_s} s for {what}; the last was {reading}"
        time.sleep(0.02)
    return reading


def test_it_follows_what_is_written(run, watched):
    async def body(world):
        watch = watched(world.database.url)
        await asyncio.to_thread(until, watch, lambda reading: reading.backlog == Backlog(), "an empty backlog")
        await world.change(
            "INSERT INTO job (tenant_id, id, video_id, spec, feature_key, state, progress, metrics, priority, attempt, "
            "deaths, max_attempts, fence, cancel_requested, event_number) "
            "VALUES ('a', 'j', 'vid_a', '{}', 'f', 'queued', '{}', '{}', 0, 0, 0, 5, 0, false, 0)"
        )
        seen = await asyncio.to_thread(
            until, watch, lambda reading: reading.backlog is not None and reading.backlog.waiting, "a job that waits"
        )
        assert seen.trouble is None
        assert (seen.backlog.waiting, seen.backlog.waiting_unknown) == (1, 1)

    run(body)


def test_a_database_that_is_not_there_is_said_to_be(watched):
    reading = until(
        watched("postgresql://nobody@127.0.0.1:1/nothing"), lambda reading: "yet" not in reading.trouble, "a failure"
    )
    assert reading.backlog is None
    assert "the database cannot be reached" in reading.trouble


def test_one_that_never_answers_is_given_up(watched):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/nothing"
        reading = until(watched(url, timeout_s=0.3), lambda reading: "yet" not in reading.trouble, "a failure")
    assert reading.trouble == "the database did not answer within 0.3 s"


def test_no_database_at_all_is_said_to_be_missing(watched, monkeypatch):
    monkeypatch.delenv("AUTOMATIONS_SERVER__DATABASE_URL", raising=False)
    watch = BacklogWatch(poll_s=0.1, stale_s=5, url=database_url)
    try:
        reading = until(watch, lambda reading: "yet" not in reading.trouble, "a failure")
    finally:
        watch.close()
    assert reading.trouble.startswith("AUTOMATIONS_SERVER__DATABASE_URL is not set")


def test_a_query_that_hangs_makes_it_unknown_after_a_while_and_it_recovers(run, watched):
    async def body(world):
        watch = watched(world.database.url, stale_s=1.0, timeout_s=0.3)
        await asyncio.to_thread(until, watch, lambda reading: reading.backlog is not None, "a first reading")
        other = Database(world.database.url, pool_size=1)
        async with other.write("clean.expired", SYSTEM) as session:
            await execute(session, text("LOCK TABLE job IN ACCESS EXCLUSIVE MODE"))
            reading = await asyncio.to_thread(
                until, watch, lambda reading: reading.backlog is None, "a reading that is too old"
            )
            assert reading.trouble.startswith("the backlog was last read")
            assert reading.trouble.endswith("did not answer within 0.3 s")
        await asyncio.to_thread(until, watch, lambda reading: reading.backlog is not None, "a reading after the lock")
        await other.close()

    run(body)


def test_whoever_asks_never_waits(watched):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        watch = watched(f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/nothing", timeout_s=30.0)
        # A thousand questions while the first reading hangs for half a minute.
        began = time.monotonic()
        assert all(watch.latest().backlog is None for _ in range(1000))
        assert time.monotonic() - began < 10


def test_the_thread_ends_with_whoever_asks():
    def threads() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "backlog"}

    # Those of closed watches may still be ending.
    before = threads()
    watch = BacklogWatch(poll_s=60, stale_s=90, url=lambda: "postgresql://nobody@127.0.0.1:1/nothing")
    (own,) = threads() - before
    del watch
    gc.collect()
    own.join(10)
    assert not own.is_alive(), "waited 10 s for the thread to end"
