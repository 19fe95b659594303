"""Engines that are elsewhere: replicas that die, hang, or are not there. With real errors of Ray's."""

import asyncio
import time

import msgspec
import pytest
from ray import exceptions as ray
from ray.serve import exceptions as serve
from ray.serve._private.common import DeploymentID

from pipeline.errors import CheckFailed, DecoderStateLost, EngineFault, EngineUnavailable, UnsupportedCodec
from serving.graph import messages
from serving.graph.calling import Remote
from serving.graph.golden import golden_clip
from serving.graph.remote import RemoteEngine, Slots
from tests.serving.graph.fakes import Fake, engine, model
from tests.serving.graph.handles import Handle

pytestmark = pytest.mark.usefixtures("quick")

DEPLOYMENT = DeploymentID("engine-default", "automations")


def times(count: int, *errors: BaseException):
    """Raises these in turn for the first `count` requests that are no descriptions."""
    left = [errors[number % len(errors)] for number in range(count)]

    def trouble(method, replica):
        return left.pop(0) if method != "describe" and left else None

    return trouble


LOST = {
    "died": (ray.ActorDiedError(), "replica_died"),
    "unavailable": (ray.ActorUnavailableError("it does not answer", None), "replica_unavailable"),
    "worker-crashed": (ray.WorkerCrashedError(), "replica_died"),
    "node-died": (ray.NodeDiedError("the node"), "replica_unavailable"),
    "answer-lost": (ray.ObjectLostError("0" * 56, None, ""), "answer_lost"),
    "owner-died": (ray.OwnerDiedError("0" * 56, None, ""), "answer_lost"),
    "network": (ray.RpcError("connection reset"), "answer_lost"),
    "cancelled-there": (serve.RequestCancelledError("x"), "answer_lost"),
    "no-longer-there": (serve.ReplicaUnavailableError("r"), "replica_unavailable"),
    "full": (serve.BackPressureError(9, 8), "busy"),
    "not-deployed": (serve.DeploymentUnavailableError(DEPLOYMENT), "not_deployed"),
}


@pytest.mark.parametrize(("error", "word"), LOST.values(), ids=LOST)
def test_what_was_lost_is_asked_again(error, word):
    async def main():
        handle = Handle({"a": Fake("a", "1"), "b": Fake("b", "1")})
        handle.lose(times(2, error))
        resent = []
        output = await engine(handle, resent=resent.append).run(golden_clip())
        assert output.rows == golden_clip().wanted
        assert resent == [word, word]
        assert len(handle.asked) == 3

    asyncio.run(main())


@pytest.mark.parametrize(
    "error",
    [ray.RayTaskError("run", "traceback", TypeError("a bug")), RuntimeError("of the test"), ray.RaySystemError("x")],
    ids=["in-its-program", "here", "of-ray"],
)
def test_what_was_not_lost_is_not_asked_again(error):
    async def main():
        handle = Handle({"a": Fake("a", "1")})
        handle.lose(times(1, error))
        with pytest.raises(type(error)):
            await engine(handle).run(golden_clip())
        assert len(handle.asked) == 1

    asyncio.run(main())


def test_a_clip_that_kills_every_replica_is_given_up():
    async def main():
        handle = Handle({"a": Fake("a", "1")})
        handle.lose(times(100, ray.ActorDiedError()))
        with pytest.raises(EngineFault, match="3 replicas of default ended"):
            await engine(handle).run(golden_clip())
        assert len(handle.asked) == 3

    asyncio.run(main())


def test_refusals_are_raised_and_not_asked_again():
    async def main():
        replica = Fake("a", "1")

        async def refusing(request):
            return messages.encode(messages.refusal(UnsupportedCodec("no such codec")))

        replica.run = refusing
        handle = Handle({"a": replica})
        with pytest.raises(UnsupportedCodec, match="no such codec"):
            await engine(handle).run(golden_clip())
        assert len(handle.asked) == 1

    asyncio.run(main())


@pytest.mark.parametrize("there", [False, True], ids=["none-is-there", "they-fail"])
def test_patience_ends(there):
    async def main():
        handle = Handle({"a": Fake("a", "1")} if there else {})
        handle.lose(lambda method, replica: serve.DeploymentUnavailableError(DEPLOYMENT))
        began = time.monotonic()
        with pytest.raises(EngineUnavailable, match="was heard of"):
            await engine(handle, patience_s=0.5).run(golden_clip())
        assert time.monotonic() - began > 0.5

    asyncio.run(main())


def test_who_is_slow_but_alive_is_waited_for():
    async def main():
        replica = Fake("a", "1")
        replica.takes_s = 1.5
        output = await engine(Handle({"a": replica}), patience_s=0.3).run(golden_clip())
        assert output.rows == golden_clip().wanted

    asyncio.run(main())


def test_a_replica_that_comes_late_is_waited_for():
    async def main():
        handle = Handle({})
        work = asyncio.create_task(engine(handle, patience_s=30).run(golden_clip()))
        await asyncio.sleep(0.3)
        assert not work.done()
        handle.replicas["a"] = Fake("a", "1")
        assert (await work).rows == golden_clip().wanted

    asyncio.run(main())


def test_a_chain_whose_replica_has_gone_to_sleep_wakes_another_one_and_begins_anew():
    async def main():
        handle = Handle({"a": Fake("a", "1")})
        remote = engine(handle, patience_s=30)
        first = msgspec.structs.replace(golden_clip(), last=False)
        await remote.run(first)
        del handle.replicas["a"]
        work = asyncio.create_task(remote.run(msgspec.structs.replace(first, part=1)))
        async with asyncio.timeout(20):
            while not handle.waiting:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.2)  # somebody has looked several times by now, and found nobody
        assert not work.done()
        handle.replicas["b"] = Fake("b", "1")
        with pytest.raises(DecoderStateLost):
            await work
        assert (await remote.run(golden_clip())).rows == golden_clip().wanted

    asyncio.run(main())


def test_all_who_need_a_replica_have_one_started_by_one_request():
    async def main():
        handle = Handle({})
        remote = Remote("default", handle)
        assert remote.idle_s == float("inf")
        assert await remote.present() == ()
        assert handle.waiting == 0, "to look starts nothing"
        first, second, third = (asyncio.create_task(remote.woken()) for _ in range(3))
        async with asyncio.timeout(20):
            while not handle.waiting:
                await asyncio.sleep(0.005)
        assert (handle.waiting, remote.idle_s) == (1, 0.0)
        first.cancel()
        await asyncio.wait({first})
        assert handle.waiting == 1, "others wait"
        handle.replicas["a"] = Fake("a", "1")
        for waiting in (second, third):
            (one,) = await waiting
            assert one.replica == "a"
        assert handle.asked == [("describe", "a")]
        assert 0 < remote.idle_s < 20

    asyncio.run(main())


def test_nobody_is_woken_for_those_who_have_left():
    async def main():
        handle = Handle({})
        remote = Remote("default", handle)
        leaving = [asyncio.create_task(remote.woken()) for _ in range(2)]
        async with asyncio.timeout(20):
            while not handle.waiting:
                await asyncio.sleep(0.005)
        for one in leaving:
            one.cancel()
        # Whoever comes at that very moment does not get what was canceled.
        await asyncio.wait(leaving)
        late = asyncio.create_task(remote.woken())
        async with asyncio.timeout(20):
            while not handle.waiting:
                await asyncio.sleep(0.005)
        handle.replicas["a"] = Fake("a", "1")
        assert (await late)[0].replica == "a"
        del handle.replicas["a"]
        last = asyncio.create_task(remote.woken())
        while not handle.waiting:
            await asyncio.sleep(0.005)
        last.cancel()
        await asyncio.wait({last})
        await asyncio.sleep(0.05)
        assert handle.waiting == 0
        assert len(asyncio.all_tasks()) == 1, "nothing goes on"

    asyncio.run(main())


def test_waiting_for_one_to_start_ends_with_the_patience():
    async def main():
        with pytest.raises(EngineUnavailable, match="was heard of"):
            await Remote("default", Handle({}), patience_s=0.3).woken()

    asyncio.run(main())


def test_one_that_hangs_does_not_hide_how_the_others_are():
    async def main():
        hanging = Fake("a", "1")

        async def never() -> bytes:
            await asyncio.Event().wait()
            return b""

        hanging.describe = never
        handle = Handle({"a": hanging, "b": Fake("b", "1")})
        remote = Remote("default", handle)
        found = []
        for _ in range(40):  # the one that is asked then is left to chance
            try:
                found = await remote.descriptions()
            except EngineUnavailable:
                continue
            break
        assert [one.replica for one in found] == ["b"]

    asyncio.run(main())


def test_whoever_gives_up_takes_the_request_along():
    async def main():
        replica = Fake("a", "1")
        replica.takes_s = 60.0
        handle = Handle({"a": replica})
        work = asyncio.create_task(engine(handle).run(golden_clip()))
        while not handle.asked:
            await asyncio.sleep(0.005)
        work.cancel()
        await asyncio.wait({work})
        await asyncio.sleep(0.05)
        assert len(asyncio.all_tasks()) == 1, "nothing goes on"

    asyncio.run(main())


def test_no_more_clips_are_out_than_allowed():
    async def main():
        replica = Fake("a", "1")
        replica.takes_s = 0.02
        counts = []
        slots = Slots(3, counts.append)
        remote = Remote("default", Handle({"a": replica}))
        jobs = [RemoteEngine(remote, model("1"), slots) for _ in range(2)]
        clips = [msgspec.structs.replace(golden_clip(), chain=chain) for chain in range(10)]
        await asyncio.gather(*(job.run(clip) for job in jobs for clip in clips))
        assert replica.most == max(counts) == 3
        assert counts[-1] == 0
        slots.allow(6)
        await asyncio.gather(*(job.run(clip) for job in jobs for clip in clips))
        assert replica.most == 6

    asyncio.run(main())


def test_a_check_asks_how_replicas_are():
    async def main():
        await engine(Handle({"a": Fake("a", "1", state="failed", error="CUDA"), "b": Fake("b", "1")})).check()
        with pytest.raises(CheckFailed, match="CUDA error; loading"):
            await engine(
                Handle({"a": Fake("a", "1", state="failed", error="CUDA error"), "b": Fake("b", state="loading")})
            ).check()
        with pytest.raises(EngineUnavailable):
            await engine(Handle({})).check()

    asyncio.run(main())
