"""Models that never answer: a real thread that waits, while everything else goes on."""

import asyncio
import threading
from contextlib import contextmanager

import msgspec
import numpy as np
import pytest

from models.base import FrameModel, ModelInfo, TextModel
from pipeline.engine import LocalEngine
from pipeline.errors import CheckFailed
from pipeline.toolkit import EMBEDDING, Toolkit
from serving import toolkits as toolkits_module
from serving.settings import DEFAULTS
from serving.toolkits import LocalToolkits


class Waiting(FrameModel, TextModel):
    """A model that answers once it is let."""

    info = ModelInfo(name="waiting", version="1", space="s", dim=4)
    likelihood = None
    known_words = None

    def __init__(self, go: threading.Event) -> None:
        self._go = go

    def run(self, pixels):
        assert self._go.wait(60)
        return np.full((len(pixels), 4), 0.5, np.float32)

    def embed_text(self, texts):
        return np.full((len(texts), 4), 0.5, np.float32)


@pytest.fixture
def loads(monkeypatch):
    """What is loaded, in order: an engine's models and its end."""
    loads: list[tuple[threading.Event, threading.Event]] = []

    @contextmanager
    def loaded(model, sandbox, *, settings, also, load):
        go, ended = threading.Event(), threading.Event()
        if model == "quick":
            go.set()
        loads.append((go, ended))
        encoder = Waiting(go)
        engine = LocalEngine({EMBEDDING: encoder}, decoder=None)
        try:
            yield Toolkit(engine=engine, encoder=encoder, decoding=None)
        finally:
            engine.close()
            ended.set()

    monkeypatch.setattr(toolkits_module, "local_toolkit", loaded)
    monkeypatch.setattr(toolkits_module, "CHECK_S", 0.02)
    monkeypatch.setattr(toolkits_module, "PATIENCE_S", 0.1)
    monkeypatch.setattr(toolkits_module, "CLOSE_S", 0.3)
    yield loads
    # Nothing is left behind for other tests.
    for go, _ in loads:
        go.set()
    for stack in toolkits_module._NEVER_ENDED:
        stack.close()
    toolkits_module._NEVER_ENDED.clear()


def _toolkits() -> LocalToolkits:
    jobs = msgspec.structs.replace(DEFAULTS.jobs, models="hangs,quick")
    return LocalToolkits(msgspec.structs.replace(DEFAULTS, jobs=jobs), sandbox=None)


def _states(toolkits: LocalToolkits) -> dict[str, str]:
    return {report.name: report.state for report in toolkits.reports()}


def test_a_model_that_never_answers_is_loaded_once_and_holds_nobody_up(loads):
    async def body():
        toolkits = _toolkits()
        with pytest.raises(CheckFailed, match="no answer within"):
            await toolkits.get("hangs")
        for _ in range(3):
            with pytest.raises(CheckFailed, match="no answer within"):
                await toolkits.get("hangs")
        assert len(loads) == 1, "it was loaded again while it still hung"
        await toolkits.get("quick")
        assert _states(toolkits) == {"hangs": "failed", "quick": "ready"}
        # All are left to themselves but for the one that ends.
        assert await toolkits.close() is False
        assert [ended.is_set() for _, ended in loads] == [False, True]

    asyncio.run(asyncio.wait_for(body(), 20))
    assert [ended.is_set() for _, ended in loads] == [False, True], "who let go of it waited for it"


def test_it_is_loaded_anew_once_it_hangs_no_more(loads):
    async def body():
        toolkits = _toolkits()
        with pytest.raises(CheckFailed):
            await toolkits.get("hangs")
        loads[0][0].set()
        while len(loads) == 1:
            # The second is let go as soon as it is there.
            trying = asyncio.create_task(toolkits.get("hangs"))
            await asyncio.sleep(0.02)
            loads[-1][0].set()
            await asyncio.gather(trying, return_exceptions=True)
        assert loads[0][1].is_set(), "both are in memory"
        assert (await toolkits.get("hangs")).encoder is not None
        assert await toolkits.close() is True

    asyncio.run(asyncio.wait_for(body(), 20))


def test_one_that_hangs_later_is_found_out_asked_once_and_comes_back(loads):
    async def body():
        toolkits = _toolkits()
        toolkit = await toolkits.get("quick")
        works, go, asked = toolkit.encoder.embed_text, threading.Event(), 0

        def hanging(texts):
            nonlocal asked
            asked += 1
            assert go.wait(60)
            return works(texts)

        toolkit.encoder.embed_text = hanging
        while _states(toolkits)["quick"] != "failed":
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
        assert asked == 1, "each check that is not answered costs a thread"
        go.set()
        while _states(toolkits)["quick"] != "ready":
            await asyncio.sleep(0.01)
        assert (await toolkits.get("quick")).engine is toolkit.engine
        assert await toolkits.close() is True

    asyncio.run(asyncio.wait_for(body(), 20))
