"""What jobs are run with, wherever engines are: one contract for those of this process and those of the graph."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

import msgspec
import pytest

from pipeline.analyze import analyze
from pipeline.errors import EngineUnavailable, ModelUnavailable
from pipeline.sandbox.client import Sandbox
from pipeline.spec import AnalysisSpec
from serving.graph import messages, toolkits
from serving.graph.engine import EngineReplica
from serving.graph.messages import ReplicaDescription
from serving.graph.seen import chosen
from serving.graph.text import TextReplica
from serving.settings import DEFAULTS
from serving.toolkits import LocalToolkits
from tests.serving.graph import making
from tests.serving.graph.fakes import Fake
from tests.serving.graph.handles import Handle
from tests.serving.graph.reports import toolkits as graph_of

pytestmark = pytest.mark.usefixtures("quick")


@asynccontextmanager
async def local():
    """Models of this process."""
    jobs = msgspec.structs.replace(DEFAULTS.jobs, models="bundled,broken")
    with Sandbox(DEFAULTS.worker) as sandbox:
        yield LocalToolkits(msgspec.structs.replace(DEFAULTS, jobs=jobs), sandbox)


@asynccontextmanager
async def graph():
    """An engine and text towers behind handles."""
    engine, text = EngineReplica("default", "one"), TextReplica("two")
    try:
        await engine.reconfigure({"models": {"bundled": {}}})
        await text.reconfigure({"models": {"bundled": {}}})
        async with graph_of(Handle({"one": engine}), Handle({"two": text})) as made:
            yield made
            assert text.description().handled.requests, "texts went to the deployment that is for them"
    finally:
        await engine.close()


@pytest.mark.parametrize("kind", [local, graph])
def test_the_contract_of_toolkits(kind, film):
    async def main():
        async with kind() as made:
            stop = asyncio.Event()
            serving = asyncio.create_task(made.serve(stop))
            await asyncio.wait_for(made.changed.wait(), 60)
            toolkit = await made.get("bundled")
            report = await analyze(film, AnalysisSpec(model="bundled"), toolkit)
            assert report.models[0].name == "bundled"
            assert report.decode.backend == toolkit.decoding.name
            await toolkit.check()
            (said,) = [one for one in made.reports() if one.name == "bundled"]
            assert said.state == "ready"
            assert (said.space, said.dtype, said.dim) == (
                toolkit.encoder.info.space,
                toolkit.encoder.info.dtype,
                toolkit.encoder.info.dim,
            )
            assert said.error is None
            assert said.checked_ago_s is not None
            assert said.checked_ago_s >= 0
            with pytest.raises(ModelUnavailable):
                await made.get("none")
            stop.set()
            await asyncio.wait_for(serving, 30)
            assert await made.close()

    asyncio.run(main())


def replica(name: str, *spaces: str, **more) -> ReplicaDescription:
    """How a fake one describes itself; the first space is the one of its current model."""
    return messages.decode(asyncio.run(Fake(name, *spaces, **more).describe()), ReplicaDescription)


@pytest.mark.parametrize(
    ("replicas", "space"),
    [
        ([("1",)], "1"),
        ([("2", "1")], "2"),
        ([("2", "1"), ("1",)], "1"),
        ([("2", "1"), ("2", "1"), ("1",)], "1"),
        ([("2",), ("2", "1"), ("1",)], "2"),
        ([("2", "1"), ("2", "1")], "2"),
        ([("2",), ("1",)], "2"),
        ([(), ("1",)], "1"),
        ([()], None),
    ],
    ids=str,
)
def test_a_job_begins_with_the_version_that_most_replicas_have(replicas, space):
    """Of several the newest: so with a new one as soon as all have it."""
    made = [replica(str(number), *spaces) for number, spaces in enumerate(replicas)]
    # The newer a version, the more lately it was loaded.
    made = [
        msgspec.structs.replace(
            one,
            generations=tuple(
                msgspec.structs.replace(part, loaded_ago_s=10.0 - int(part.models[0].info.space))
                for part in one.generations
            ),
        )
        for one in made
    ]
    found = chosen(made, "auto")
    assert (None if found is None else found[1].info.space) == space


def test_a_replica_that_does_not_compute_is_not_asked():
    broken, works = replica("a", "2", state="failed", error="CUDA"), replica("b", "1")
    found = chosen([broken, works], "auto")
    assert found is not None
    assert found[0].replica == "b"
    assert chosen([broken], "auto") is not None, "better than none: it may be mended by then"
    assert chosen([works], "another") is None


def test_a_canary_gets_its_share_of_jobs():
    async def main():
        async with graph_of(Handle({"a": Fake("a", "1")}), Handle({"t": Fake("t", "1")})) as made:
            made._engines["canary"] = type(made._engines["default"])("canary", Handle({"b": Fake("b", "2")}))
            spaces = Counter()
            for _ in range(3):
                spaces[(await made.get("auto")).encoder.info.space] += 1
            assert spaces == {"1": 3}, "without a word on it, the first that has it"
            made.configure(traffic={"auto": {"default": 0.75, "canary": 0.25}}, clips_in_flight=4)
            for _ in range(400):
                spaces[(await made.get("auto")).encoder.info.space] += 1
            assert 60 < spaces["2"] < 140
            shares = {one.engine: one.share for one in made.reports()}
            assert shares == {"default": 0.75, "canary": 0.25}
            made.configure(traffic={"auto": {"default": 0.0, "canary": 1.0}}, clips_in_flight=4)
            assert {(await made.get("auto")).encoder.info.space for _ in range(20)} == {"2"}

    asyncio.run(main())


def test_an_engine_that_is_away_is_waited_for_and_told(monkeypatch):
    monkeypatch.setattr(toolkits, "_AGAIN_S", 0.01)
    monkeypatch.setattr(toolkits, "POLL_S", 0.02)

    async def main():
        handle = Handle({"a": Fake("a", "1")})
        async with graph_of(handle, patience_s=0.3) as made:
            stop = asyncio.Event()
            serving = asyncio.create_task(made.serve(stop))
            await made.get("auto")
            kept = handle.replicas.pop("a")
            made.changed.clear()
            await asyncio.wait_for(made.changed.wait(), 20)
            (said,) = made.reports()
            assert (said.state, said.replicas) == ("failed", 0)
            assert "default" in said.error
            with pytest.raises(EngineUnavailable, match="default"):
                await made.get("auto")
            waiting = asyncio.create_task(made.get("auto"))
            await asyncio.sleep(0.05)
            handle.replicas["a"] = kept
            assert (await waiting).encoder.info.space == "1"
            (said,) = made.reports()
            assert (said.state, said.replicas, said.error) == ("ready", 1, None)
            stop.set()
            await serving

    asyncio.run(main())


def test_before_any_engine_has_come_it_is_waited_for(monkeypatch):
    monkeypatch.setattr(toolkits, "_AGAIN_S", 0.01)

    async def main():
        handle = Handle({})
        async with graph_of(handle, patience_s=20) as made:
            waiting = asyncio.create_task(made.get("auto"))
            await asyncio.sleep(0.1)
            assert made.reports() == ()
            handle.replicas["a"] = Fake("a", "1")
            assert (await waiting).encoder.info.space == "1"

    asyncio.run(main())


def test_a_swap_that_failed_is_reported_beside_the_model_that_serves(engine_run, tmp_path):
    async def body(engine):
        async with graph_of(Handle({"one": engine})) as made:
            before = (await made.get("bundled")).encoder.info.identity
            made.changed.clear()
            source = making.not_numbers(tmp_path)
            await engine.reconfigure({"models": {"bundled": {"source": source}}})
            async with asyncio.timeout(60):
                while True:
                    toolkit = await made.get("bundled")
                    assert toolkit.encoder.info.identity == before
                    (said,) = made.reports()
                    if said.swap_error is not None:
                        break
                    assert said.coming == source
                    await asyncio.sleep(0.02)
            assert "holds no numbers" in said.swap_error
            assert (said.state, said.error, said.coming, said.generation) == ("ready", None, None, 1)
            assert made.changed.is_set()

    engine_run(body)
