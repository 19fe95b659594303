"""Engines in a real Ray cluster: what they give is what an engine here gives, whatever is killed or swapped meanwhile.

One cluster and one application for all of it: each start takes ten seconds.
"""

import asyncio
import contextlib
from dataclasses import replace

import psutil
import pytest

from pipeline.analyze import analyze
from pipeline.report import Report
from pipeline.spec import AnalysisSpec, Sampling
from serving.graph import toolkits as toolkits_module
from serving.graph.calling import Remote
from serving.graph.deploying import standing
from serving.local import local_toolkit
from tests.serving.graph import making
from tests.serving.graph.clusters import PATIENCE_S, cluster, deployed, descendants, gone, handle, killed
from tests.serving.graph.reports import same, toolkits

SPEC = AnalysisSpec(model="bundled", sampling=Sampling(fps=12.0))

TEXT = {"models": {"bundled": {}}}


def config(source: str | None = None) -> dict:
    """Of the engine."""
    return {"models": {"bundled": {"source": source}}, "batch_size": 8, "decode_threads": 2}


@pytest.fixture(scope="module")
def engines():
    """Handles of the engine, which has two replicas, and of text."""
    with cluster():
        deployed(config(), TEXT, replicas=2)
        yield handle("engine-default"), handle("text")


@pytest.fixture(scope="module")
def expected(film, long_group) -> dict[str, Report]:
    """What an engine here makes of the films."""

    async def main():
        with local_toolkit("bundled") as toolkit:
            return {path.name: await analyze(path, SPEC, toolkit) for path in (film, long_group)}

    return asyncio.run(main())


class Meddled:
    """An engine, and what happens while a certain Clip is out."""

    def __init__(self, engine, at: int, meddle) -> None:
        self._engine, self._at, self._meddle = engine, at, meddle
        self._count = 0

    async def run(self, clip):
        self._count += 1
        if self._count != self._at:
            return await self._engine.run(clip)
        out = asyncio.create_task(self._engine.run(clip))
        await asyncio.sleep(0.005)
        await self._meddle(clip, self._engine)
        return await out

    async def check(self):
        await self._engine.check()


def analyzed(engines, path, meddle=None, *, at: int = 4) -> Report:
    """Its report through the engines; `meddle` is called while the Clip number `at` is out."""

    async def main():
        async with toolkits(*engines) as graph:
            toolkit = await graph.get("bundled")
            if meddle is not None:
                toolkit = replace(toolkit, engine=Meddled(toolkit.engine, at, meddle))
            async with asyncio.timeout(PATIENCE_S):
                return await analyze(path, SPEC, toolkit)

    return asyncio.run(main())


async def described(engine) -> dict[str, int]:
    """Replica -> its process."""
    return {one.replica: one.pid for one in await Remote("default", engine).descriptions()}


def whole(engine, count: int = 2) -> dict[str, int]:
    """Waits until as many replicas are there."""

    async def main():
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with contextlib.suppress(Exception):
                    found = await described(engine)
                    if len(found) == count and all(psutil.pid_exists(pid) for pid in found.values()):
                        return found
                await asyncio.sleep(0.2)

    return asyncio.run(main())


def test_a_report_through_ray_is_that_of_an_engine_here(engines, film, long_group, expected):
    for path in (film, long_group):
        same(analyzed(engines, path), expected[path.name])

    async def main():
        return await Remote("default", engines[0]).descriptions()

    replicas = asyncio.run(main())
    assert len(replicas) == 2
    assert sum(one.handled.frames_shipped for one in replicas) == 0
    assert sum(one.handled.frames for one in replicas) >= 12 * 21


def test_requests_that_belong_to_a_replica_wait_for_it(engines):
    """Many at once, of which half are pinned, at replicas that take one at a time; and one is pinned to none there."""

    async def main():
        echo = handle("echo")
        replicas: set[str] = set()
        async with asyncio.timeout(PATIENCE_S):
            while len(replicas) < 3:
                replicas |= set(await asyncio.gather(*(echo.remote() for _ in range(12))))

            async def pinned(replica: str) -> tuple[str, str]:
                return replica, await echo.options(session_id=replica).remote()

            async def free() -> str:
                return await echo.remote()

            asked = [pinned(replica) for replica in sorted(replicas) * 40]
            others = [free() for _ in range(120)]
            both = [one for pair in zip(asked, others, strict=True) for one in pair]
            answers = await asyncio.gather(*both)
            assert await echo.options(session_id="gone").remote() in replicas
        return replicas, answers[::2], answers[1::2]

    replicas, pinned, free = asyncio.run(main())
    assert [wanted for wanted, _ in pinned] == [came for _, came in pinned]
    assert set(free) == replicas


def test_decoding_processes_that_are_killed_cost_nothing(engines, film, long_group, expected):
    ended = []

    async def meddle(clip, engine):
        for pid in (await described(engines[0])).values():
            for process in descendants(pid):
                # Workers, not what they come from: that has them as its children.
                if process.ppid() != pid:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                        ended.append(process)

    for path in (film, long_group):
        ended.clear()
        same(analyzed(engines, path, meddle), expected[path.name])
        assert ended


def test_a_replica_that_is_killed_costs_nothing_and_takes_its_processes_along(engines, long_group, expected):
    whole(engines[0])
    ended = []

    async def meddle(clip, engine):
        """Kill the one that has the chain."""
        pid = (await described(engines[0]))[engine._chains[clip.job, clip.chain]]
        ended.extend(descendants(pid))
        killed(pid)

    same(analyzed(engines, long_group, meddle), expected[long_group.name])
    assert len(ended) >= 2
    assert gone(ended), "what it had started is still there"


@pytest.mark.drill
def test_when_all_replicas_are_killed_the_work_waits_for_new_ones(engines, film, expected):
    before = whole(engines[0])

    async def meddle(clip, engine):
        for pid in (await described(engines[0])).values():
            killed(pid)

    same(analyzed(engines, film, meddle), expected[film.name])
    assert not set(whole(engines[0])) & set(before)


@pytest.mark.drill
def test_swaps_under_load(engines, film, tmp_path):
    """Reports come all the time, each of one version; broken models change nothing."""
    whole(engines[0])
    sources = [making.variant(tmp_path, seed) for seed in (1, 2)]
    broken = [making.cut_off(tmp_path), making.not_numbers(tmp_path)]
    order = [sources[0], broken[0], sources[1], broken[1], None]

    async def main():
        reports: list[Report] = []
        stop = asyncio.Event()

        async with toolkits(*engines) as graph:

            async def client():
                while not stop.is_set():
                    reports.append(await analyze(film, SPEC, await graph.get("bundled")))

            clients = [asyncio.create_task(client()) for _ in range(3)]
            failures = []
            for source in order:
                await asyncio.to_thread(deployed, config(source), TEXT, replicas=2)
                wanted = source or "bundled"
                async with asyncio.timeout(PATIENCE_S):
                    while not (ended := await swapped(engines[0], wanted)):
                        await asyncio.sleep(0.1)
                failures += ended
                so_far = len(reports)
                async with asyncio.timeout(PATIENCE_S):
                    while len(reports) < so_far + 3:
                        await asyncio.sleep(0.1)
            stop.set()
            await asyncio.gather(*clients)
            return reports, failures, graph.reports()

    reports, failures, told = asyncio.run(main())
    versions = [report.models[0].version for report in reports]
    assert len(set(versions)) == 3
    assert all(len(report.models) == 1 for report in reports)
    for report in reports:
        (alike,) = {other.features.embeddings.space for other in reports if other.models == report.models}
        assert report.features.embeddings.space == alike
        same(report, next(other for other in reports if other.models == report.models))
    assert [word for word, _ in failures] == ["ready", "failed", "ready", "failed", "ready"]
    assert "cannot be loaded" in failures[1][1]
    assert "holds no numbers" in failures[3][1]
    assert told[0].swap_error is None, "the last one is there"


def test_an_engine_that_has_no_replica_is_woken_by_a_job_and_goes_again(engines, film, expected, monkeypatch):
    monkeypatch.setattr(toolkits_module, "_LATELY_S", 2.0)

    def running() -> int:
        found = standing()
        assert found is not None
        rare = next(one for one in found.deployments if one.name == "engine-rare")
        assert rare.status != "UNHEALTHY", "to have no replica is nothing that is wrong"
        return rare.running

    async def main():
        more = {"traffic": {"bundled": {"default": 1.0}}, "on_demand": ("default",)}
        stop = asyncio.Event()
        async with toolkits(handle("engine-rare"), engines[1], **more) as graph, asyncio.timeout(PATIENCE_S):
            serving = asyncio.create_task(graph.serve(stop))
            await asyncio.sleep(1)
            assert await asyncio.to_thread(running) == 0, "whoever looks around wakes nobody"
            assert [(one.state, one.space) for one in graph.reports()] == [("asleep", None)]
            first = await analyze(film, SPEC, await graph.get("bundled"))
            assert await asyncio.to_thread(running) == 1
            while await asyncio.to_thread(running):
                await asyncio.sleep(0.1)
            assert [(one.state, one.space) for one in graph.reports()] == [("asleep", first.features.embeddings.space)]
            second = await analyze(film, SPEC, await graph.get("bundled"))
            stop.set()
            await serving
            return first, second

    for report in asyncio.run(main()):
        same(report, expected[film.name])


async def swapped(engine, wanted: str) -> list[tuple[str, str]]:
    """How that ended in both replicas; nothing while it has not."""
    found = []
    for one in await Remote("default", engine).descriptions():
        if one.failure is not None and one.failure.wanted["bundled"] == wanted:
            found.append(("failed", one.failure.error))
        elif one.coming is None and one.generations[0].models[0].info.name in (wanted, "bundled"):
            name = one.generations[0].models[0].info.name
            if name == wanted:
                found.append(("ready", ""))
    return found[:1] if len(found) == 2 else []
