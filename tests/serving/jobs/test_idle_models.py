"""Models that no job needs any more leave the memory, and come back when one does."""

import asyncio
import gc
import threading
import weakref

import msgspec
import pytest

from pipeline.sandbox.client import Sandbox
from serving import toolkits as toolkits_module
from serving.settings import DEFAULTS
from serving.toolkits import LocalToolkits

TTL_S = 0.3


@pytest.fixture
def quick_checks(monkeypatch):
    monkeypatch.setattr(toolkits_module, "CHECK_S", 0.05)


def _settings(ttl_s: float = TTL_S):
    jobs = msgspec.structs.replace(DEFAULTS.jobs, models="ViT-S-32-alt/random,bundled", model_ttl_s=ttl_s)
    return msgspec.structs.replace(DEFAULTS, jobs=jobs)


def _run(body, ttl_s: float = TTL_S) -> None:
    async def main(sandbox):
        toolkits = LocalToolkits(_settings(ttl_s), sandbox)
        try:
            await body(toolkits)
        finally:
            assert await toolkits.close() is True

    with Sandbox(DEFAULTS.worker) as sandbox:
        asyncio.run(asyncio.wait_for(main(sandbox), 120))


async def _gone(toolkits: LocalToolkits, name: str) -> None:
    while name in (report.name for report in toolkits.reports()):
        await asyncio.sleep(0.01)


def _threads() -> set[threading.Thread]:
    """Those of models and engines."""
    return {one for one in threading.enumerate() if one.name.startswith(("infer", "decode", "encode"))}


@pytest.mark.usefixtures("quick_checks")
def test_a_model_leaves_once_no_job_has_it_and_comes_back():
    async def body(toolkits):
        before = _threads()
        toolkit = await toolkits.get("bundled")
        encoder = weakref.ref(toolkit.encoder)
        await asyncio.sleep(3 * TTL_S)
        assert [report.state for report in toolkits.reports()] == ["ready"], "it left a job that has it"
        await toolkit.check()
        del toolkit
        await _gone(toolkits, "bundled")
        # Whoever wants it while it leaves gets it, and not one whose threads have ended.
        again = await toolkits.get("bundled")
        gc.collect()
        assert encoder() is None, "it is still in memory"
        await again.check()
        del again
        await _gone(toolkits, "bundled")
        # Those of other tests may end meanwhile.
        while _threads() - before:
            await asyncio.sleep(0.01)  # the waiting itself is bounded

    _run(body)


@pytest.mark.usefixtures("quick_checks")
def test_the_first_model_stays_for_readiness():
    async def body(toolkits):
        for name in ("ViT-S-32-alt/random", "bundled"):
            await toolkits.get(name)
        await _gone(toolkits, "bundled")
        await asyncio.sleep(2 * TTL_S)
        assert [report.name for report in toolkits.reports()] == ["ViT-S-32-alt/random"]

    _run(body)


@pytest.mark.usefixtures("quick_checks")
def test_without_a_time_to_live_they_stay():
    async def body(toolkits):
        await toolkits.get("bundled")
        await asyncio.sleep(3 * TTL_S)
        assert [report.name for report in toolkits.reports()] == ["bundled"]

    _run(body, ttl_s=0)


def test_jobs_that_nobody_looked_at_count_as_well():
    """What came and went between two looks."""

    async def body(toolkits):
        toolkit = await toolkits.get("bundled")
        (held,) = toolkits._held.values()
        held.needed_at -= 1000.0
        assert held.idle_s == 0.0, "a job has it"
        held.needed_at -= 1000.0
        del toolkit
        gc.collect()
        assert held.idle_s < 500.0

    _run(body)
