"""A worker as Serve has it, but for Serve: it works while it should, goes when it should, and says when it cannot."""

import asyncio
import gc

import pytest

from pipeline.errors import CheckFailed
from serving.graph import worker
from serving.graph.args import InvalidGraph
from serving.graph.worker import WorkerReplica
from serving.workers import alive
from tests.serving.graph.handles import Handle
from tests.serving.jobs.conftest import run, url

__all__ = ["run", "url"]


@pytest.fixture
def replica(run, url, tmp_path, monkeypatch):
    """Runs `async def test(world, replica)`; what the replica has not ended by then is ended. `engines`: names of
    those that there are; none has a replica."""
    monkeypatch.setenv("AUTOMATIONS_SERVER__DATABASE_URL", url)
    monkeypatch.setenv("AUTOMATIONS_SERVER__DATA_DIR", str(tmp_path))

    def body(test, engines=()) -> None:
        async def with_replica(world) -> None:
            made = WorkerReplica({name: Handle({}) for name in engines}, Handle({}))  # type: ignore[arg-type]
            try:
                await test(world, made)
            finally:
                await made.close()

        run(with_replica)

    return body


async def _seen(world, count: int) -> tuple:
    for _ in range(200):
        found = await alive(world.database)
        if len(found) == count:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"not {count} workers within 10 s: {found}")


def test_it_works_until_serve_takes_it_away(replica):
    async def test(world, made) -> None:
        await made.reconfigure({"slots": 3})
        (seen,) = await _seen(world, 1)
        assert seen.slots == 3
        await made.check_health()
        ended = made.__del__()
        assert ended is not None
        await ended
        assert await alive(world.database) == ()
        # Python calls it, too, and awaits nothing.
        assert made.__del__() is None

    replica(test)


def test_other_slots_are_another_worker_and_other_traffic_is_not(replica):
    async def test(world, made) -> None:
        await made.reconfigure({})
        (first,) = await _seen(world, 1)
        await made.reconfigure({"traffic": {"auto": {"default": 1.0}}, "clips_in_flight": 3})
        (same,) = await _seen(world, 1)
        assert same.id == first.id
        await made.reconfigure({"slots": 5})
        (other,) = await _seen(world, 1)
        assert (other.id == first.id, other.slots) == (False, 5)
        with pytest.raises(InvalidGraph, match=r"worker\.user_config"):
            await made.reconfigure({"slot": 5})
        await made.check_health()

    replica(test)


def test_engines_on_demand_are_told_from_those_that_are_expected(replica):
    async def test(world, made) -> None:
        async def told(count: int) -> tuple[str, ...]:
            for _ in range(200):
                (seen,) = await _seen(world, 1)
                if len(seen.models) == count:
                    return tuple(f"{model.name} {model.engine} {model.state}" for model in seen.models)
                await asyncio.sleep(0.05)
            raise AssertionError(f"not {count} models within 10 s: {seen}")

        shares = {"auto": {"often": 1.0}, "large": {"rare": 1.0}}
        await made.reconfigure({"traffic": shares, "on_demand": ["rare"]})
        assert await told(1) == ("large rare asleep",), "what others have nobody knows before they say so"
        await made.reconfigure({"traffic": shares, "on_demand": ["rare", "often"]})
        assert await told(2) == ("auto often asleep", "large rare asleep")

    replica(test, engines=("often", "rare"))


def test_one_whose_loops_have_ended_is_not_well(replica):
    async def test(world, made) -> None:
        await made.check_health()  # not yet anything to be well
        await made.reconfigure({})
        await _seen(world, 1)
        made._task.cancel()
        await asyncio.wait({made._task})
        with pytest.raises(CheckFailed, match="has ended"):
            await made.check_health()

    replica(test)


def test_a_database_that_is_away_is_nobodys_fault(replica, monkeypatch):
    async def test(world, made) -> None:
        await made.reconfigure({})
        await _seen(world, 1)
        answers: list[bool] = []

        async def answer(_: str) -> bool:
            return answers[-1]

        monkeypatch.setattr(worker, "SILENT_S", -1.0)
        # The real one, which is there.
        with pytest.raises(CheckFailed, match="the database answers, but nothing got through"):
            await made.check_health()
        monkeypatch.setattr(worker, "_answers", answer)
        answers.append(False)
        await made.check_health()
        answers.append(True)
        with pytest.raises(CheckFailed):
            await made.check_health()

    replica(test)


def test_one_that_was_never_made_ends_without_a_word(recwarn):
    made = WorkerReplica.__new__(WorkerReplica)
    assert made.__del__() is None
    del made
    gc.collect()
    assert not [one for one in recwarn if "never awaited" in str(one.message)]
