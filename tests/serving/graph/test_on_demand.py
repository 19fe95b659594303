"""Engines that may have no replica: a job wakes them, and nobody keeps them awake."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from pipeline.errors import EngineFault, EngineUnavailable, ModelUnavailable
from serving.graph import toolkits
from serving.graph.golden import golden_clip
from serving.graph.messages import ReplicaDescription
from serving.graph.toolkits import GraphToolkits
from serving.workers import ModelReport
from tests.serving.graph.fakes import Fake
from tests.serving.graph.handles import Handle
from tests.serving.graph.reports import toolkits as graph_of

#: How long an engine is asked how it is after somebody needed it, seconds.
LATELY_S = 0.3

TRAFFIC = {"auto": {"default": 1.0}}


@pytest.fixture(autouse=True)
def short(monkeypatch, quick):
    """Waits that are seconds elsewhere."""
    monkeypatch.setattr(toolkits, "_AGAIN_S", 0.01)
    monkeypatch.setattr(toolkits, "POLL_S", 0.02)
    monkeypatch.setattr(toolkits, "_LATELY_S", LATELY_S)


@asynccontextmanager
async def served(handle: Handle, **more) -> AsyncIterator[GraphToolkits]:
    """Toolkits of an engine on demand, as a worker has them while it works."""
    async with graph_of(handle, **{"traffic": TRAFFIC, "on_demand": ("default",)} | more) as made:
        stop = asyncio.Event()
        serving = asyncio.create_task(made.serve(stop))
        try:
            yield made
        finally:
            stop.set()
            await serving


async def until(holds: Callable[[], object], what: str) -> None:
    """Waits until it holds."""
    try:
        async with asyncio.timeout(20):
            while not holds():
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"waited in vain until {what}")


def told(made: GraphToolkits) -> ModelReport:
    """Of its only model."""
    (said,) = made.reports()
    return said


def test_a_job_wakes_it_and_then_it_is_left_alone():
    async def main():
        handle = Handle({})
        async with served(handle) as made:
            await asyncio.sleep(0.1)
            said = told(made)
            assert (said.name, said.engine, said.state, said.share) == ("auto", "default", "asleep", 1.0)
            assert (said.error, said.replicas, said.stands_for, said.checked_ago_s) == (None, None, None, None)
            assert handle.waiting == 0
            made.changed.clear()
            jobs = [asyncio.create_task(made.get("auto")) for _ in range(3)]
            await until(lambda: handle.waiting, "it is woken")
            assert handle.waiting == 1, "one request does for all"
            assert made.changed.is_set()
            assert (told(made).state, told(made).replicas) == ("loading", 0)
            handle.replicas["a"] = Fake("a", "1")
            assert {(await job).encoder.info.space for job in jobs} == {"1"}
            assert (told(made).state, told(made).replicas, told(made).space) == ("ready", 1, "1")
            # There are replicas still, but nobody needs them.
            await until(lambda: told(made).state == "asleep", "nobody needs it any more")
            await asyncio.sleep(0.05)  # what was asked last is answered
            asked = len(handle.asked)
            await asyncio.sleep(0.2)
            assert len(handle.asked) == asked, "whoever is asked is not taken away"
            said = told(made)
            assert (said.replicas, said.stands_for, said.space) == (None, "auto", "1"), "as it was last"
            # Serve has taken them away, and the next job wakes it again, with another model by now.
            handle.replicas.clear()
            job = asyncio.create_task(made.get("auto"))
            await until(lambda: handle.waiting, "it is woken again")
            handle.replicas["b"] = Fake("b", "2")
            assert (await job).encoder.info.space == "2"

    asyncio.run(main())


def test_while_a_job_has_it_it_is_asked_how_it_is():
    async def main():
        replica = Fake("a", "1")
        replica.takes_s = 3 * LATELY_S
        handle = Handle({"a": replica})
        async with served(handle) as made:
            toolkit = await made.get("auto")
            clip = asyncio.create_task(toolkit.engine.run(golden_clip()))
            await asyncio.sleep(2 * LATELY_S)
            asked = len(handle.asked)
            await until(lambda: len(handle.asked) > asked, "it is asked again")
            assert told(made).state == "ready"
            await clip
            # Gone sooner than nobody needs it any more: that is what it is for.
            handle.replicas.clear()
            await until(lambda: told(made).replicas == 0, "that is seen")
            assert (told(made).state, told(made).error) == ("asleep", None)
            # A Clip of a job that has begun wakes it as well.
            clip = asyncio.create_task(toolkit.engine.run(golden_clip()))
            await until(lambda: told(made).state == "loading", "that is seen")
            handle.replicas["b"] = Fake("b", "1")
            assert (await clip).rows == golden_clip().wanted
            await until(lambda: told(made).state == "ready", "that is seen")

    asyncio.run(main())


def test_a_job_that_is_canceled_wakes_nobody_any_more():
    async def main():
        handle = Handle({})
        async with served(handle) as made:
            job = asyncio.create_task(made.get("auto"))
            await until(lambda: handle.waiting, "it is woken")
            job.cancel()
            await asyncio.wait({job})
            await until(lambda: not handle.waiting, "nobody waits any more")
            assert job.cancelled()
            assert told(made).state == "asleep"

    asyncio.run(main())


def test_one_that_does_not_come_fails_while_it_is_needed():
    async def main():
        handle = Handle({})
        async with served(handle, patience_s=0.2) as made:
            with pytest.raises(EngineUnavailable, match="no replica of default has started within"):
                await made.get("auto")
            await until(lambda: told(made).state == "failed", "nobody waits for it any more")
            assert told(made).replicas == 0
            assert "has started within" in (told(made).error or "")
            await until(lambda: told(made).state == "asleep", "nobody needs it any more")
            assert handle.waiting == 0
            assert "has started within" in (told(made).error or ""), "that is what is known of it"
            job = asyncio.create_task(made.get("auto"))
            await until(lambda: handle.waiting, "it is woken")
            handle.replicas["a"] = Fake("a", "1")
            await job
            assert (told(made).state, told(made).error) == ("ready", None)

    asyncio.run(main())


def test_one_whose_replicas_hang_is_not_taken_for_asleep():
    async def main():
        hanging = Fake("a", "1")

        async def never() -> bytes:
            await asyncio.Event().wait()
            return b""

        hanging.describe = never
        async with served(Handle({"a": hanging}), patience_s=0.5) as made:
            with pytest.raises(EngineUnavailable, match="no replica of default answers"):
                await made.get("auto")
            assert (told(made).state, told(made).replicas) == ("failed", 0)

    asyncio.run(main())


def test_a_model_that_none_has_is_refused_at_once_and_wakes_none():
    async def main():
        handle = Handle({})
        async with served(handle) as made:
            with pytest.raises(ModelUnavailable, match="run auto, not another"):
                await made.get("another")
            assert handle.waiting == 0
            # Traffic may say more than is true, by `serve deploy` without a check.
            handle.replicas["a"] = Fake("a", "1")
            made.configure(traffic={"another": {"default": 1.0}}, clips_in_flight=4, on_demand=("default",))
            with pytest.raises(ModelUnavailable, match="the engine default has no model another"):
                await made.get("another")

    asyncio.run(main())


def test_one_that_is_expected_from_now_on_is_missed():
    async def main():
        async with served(Handle({})) as made:
            await asyncio.sleep(0.05)
            made.configure(traffic=TRAFFIC, clips_in_flight=4)
            await asyncio.sleep(0.1)
            assert made.reports() == (), "nothing is known of it"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(made.get("auto"), 0.1)
            made.configure(traffic=TRAFFIC, clips_in_flight=4, on_demand=("default",))
            await until(lambda: told(made).state == "asleep", "it need not be there")

    asyncio.run(main())


def test_one_that_is_none_for_a_moment_is_not_said_to_be_gone(monkeypatch):
    """Serve has no replica of an engine while that takes over a configuration; looks are further apart than that."""
    monkeypatch.setattr(toolkits, "POLL_S", 0.3)
    monkeypatch.setattr(toolkits, "_GAP_S", 0.2)

    async def main():
        handle = Handle({"a": Fake("a", "1")})
        async with served(handle, on_demand=(), traffic={}) as made:
            await made.get("auto")
            (replica,) = handle.replicas.values()
            for _ in range(4):
                handle.replicas.clear()
                await asyncio.sleep(0.1)
                handle.replicas["a"] = replica
                await asyncio.sleep(0.05)
                assert told(made).state == "ready", told(made).error
            handle.replicas.clear()
            await until(lambda: told(made).state == "failed", "it is said to be gone")

    asyncio.run(main())


def test_what_an_engine_had_before_it_slept_is_not_what_it_has(monkeypatch):
    async def main():
        handle = Handle({"a": Fake("a", "1")})
        async with served(handle) as made:
            await made.get("auto")
            await until(lambda: told(made).state == "asleep", "nobody needs it any more")
            made.configure(traffic={"new": {"default": 1.0}}, clips_in_flight=4, on_demand=("default",))
            assert (told(made).name, told(made).state) == ("new", "asleep")

    asyncio.run(main())


def test_replicas_that_die_while_they_are_woken_cost_no_job_an_attempt(monkeypatch):
    async def main():
        handle = Handle({})
        async with served(handle, patience_s=0.5) as made:

            async def dying() -> tuple[ReplicaDescription, ...]:
                raise EngineFault("3 replicas of default ended while they had the same request")

            monkeypatch.setattr(made._engines["default"], "woken", dying)
            with pytest.raises(EngineUnavailable, match="3 replicas"):
                await made.get("auto")

    asyncio.run(main())
