"""Workers say how they are: rows that come, change and go, and what is made of them."""

import asyncio
import math

import msgspec
import numpy as np
import pytest
from sqlalchemy import text

from models.base import FrameModel, ModelInfo, TextModel
from pipeline.checking import require_rows
from pipeline.engine import LocalEngine
from pipeline.errors import CheckFailed, ModelUnavailable
from pipeline.sandbox.client import Sandbox
from pipeline.toolkit import EMBEDDING, Toolkit
from serving import toolkits as toolkits_module
from serving.db.statements import execute
from serving.settings import DEFAULTS
from serving.toolkits import LocalToolkits
from serving.workers import ALIVE_S, FRESH_S, ModelReport, Presence, alive, missing

READY = ModelReport(
    name="bundled",
    state="ready",
    stands_for="bundled",
    version="1",
    space="s",
    dim=64,
    device="cpu",
    dtype="float32",
    loaded_ago_s=10.0,
    checked_ago_s=5.0,
    error=None,
)
LOADING = msgspec.structs.replace(READY, state="loading", name="auto", checked_ago_s=None, loaded_ago_s=None)
ASLEEP = msgspec.structs.replace(LOADING, state="asleep", name="large", engine="large")
WAKING = msgspec.structs.replace(ASLEEP, state="loading", name="rare")
FAILED = msgspec.structs.replace(READY, state="failed", error="embedding: ValueError: an answer that holds no numbers")


def _presence(database, *models, name="wrk_1", changed=None) -> Presence:
    return Presence(
        database, name, slots=2, busy=lambda: 1, models=lambda: models, changed=changed or asyncio.Event(), beat_s=0.05
    )


def test_a_worker_is_there_for_as_long_as_it_works(run):
    async def body(world):
        stop = asyncio.Event()
        said = [LOADING]
        changed = asyncio.Event()
        presence = Presence(
            world.database, "wrk_1", slots=2, busy=lambda: 1, models=lambda: said, changed=changed, beat_s=3600.0
        )
        working = asyncio.create_task(presence.serve(stop))

        async def until(what) -> None:
            while not what(await alive(world.database)):
                await asyncio.sleep(0.01)

        await asyncio.wait_for(until(len), 20)
        (worker,) = await alive(world.database)
        assert (worker.slots, worker.busy, worker.models) == (2, 1, (LOADING,))
        (row,) = await world.sql("SELECT host, pid, version, started_at, seen_at FROM worker")
        assert row.pid > 0
        assert row.host
        assert row.version[0].isdigit()
        # News are told at once.
        said[:] = [READY]
        changed.set()
        await asyncio.wait_for(until(lambda workers: workers[0].models == (READY,)), 20)
        (later,) = await world.sql("SELECT started_at, seen_at FROM worker")
        assert later.started_at == row.started_at
        assert later.seen_at > row.seen_at
        stop.set()
        await asyncio.wait_for(working, 20)
        assert await world.sql("SELECT 1 FROM worker") == []

    run(body)


def test_no_tenant_sees_workers(run):
    async def body(world):
        await _presence(world.database, READY).beat()
        async with world.database.read("a") as session:
            assert (await execute(session, text("SELECT * FROM worker"))).all() == []

    run(body)


def test_the_silent_are_taken_for_dead_and_forgotten_after_a_day(run):
    async def body(world):
        for name in ("wrk_1", "wrk_2", "wrk_3"):
            await _presence(world.database, READY, name=name).beat()
        for name, silent_s in (("wrk_1", ALIVE_S + 1), ("wrk_2", 3600 * 25), ("wrk_3", ALIVE_S - 5)):
            await world.change(
                "UPDATE worker SET seen_at = now() - make_interval(secs => :s) WHERE id = :id", s=silent_s, id=name
            )
        assert [worker.id for worker in await alive(world.database)] == ["wrk_3"]
        await _presence(world.database, READY, name="wrk_3").beat()
        assert [row.id for row in await world.sql("SELECT id FROM worker ORDER BY id")] == ["wrk_1", "wrk_3"]
        # One that was stopped for longer than a day is there again with its own row.
        await world.change("UPDATE worker SET seen_at = now() - interval '2 days'")
        await _presence(world.database, READY, name="wrk_1").beat()
        assert [worker.id for worker in await alive(world.database)] == ["wrk_1"]

    run(body)


@pytest.mark.parametrize(
    ("models", "says"),
    [
        ([READY], None),
        ([FAILED, READY], None),
        ([LOADING], "a worker is loading auto"),
        ([FAILED], "bundled does not work: embedding: ValueError"),
        ([msgspec.structs.replace(READY, checked_ago_s=FRESH_S + 1)], "bundled was last checked 91 s ago"),
        ([], "no worker has a model yet"),
        # What is started when it is needed is not missed, nor does it stand for what is.
        ([ASLEEP, WAKING], None),
        ([ASLEEP, WAKING, FAILED], "bundled does not work: embedding: ValueError"),
        ([ASLEEP, LOADING], "a worker is loading auto"),
        ([msgspec.structs.replace(WAKING, state="failed", error="none came")], "rare does not work: none came"),
    ],
)
def test_what_is_missing_is_said(run, models, says):
    async def body(world):
        assert "no worker was heard of" in (missing(await alive(world.database)) or "")
        await _presence(world.database, *models).beat()
        found = missing(await alive(world.database))
        assert found == says or (says and found and found.startswith(says))

    run(body)


def test_a_check_counts_from_when_it_was_not_from_when_it_was_told(run):
    async def body(world):
        await _presence(world.database, msgspec.structs.replace(READY, checked_ago_s=FRESH_S - 5)).beat()
        assert missing(await alive(world.database)) is None
        await world.change("UPDATE worker SET seen_at = now() - interval '10 s'")
        assert "last checked 95 s ago" in (missing(await alive(world.database)) or "")

    run(body)


# --- the checks themselves --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (np.full((2, 4), 0.5, np.float32), None),
        (np.full((1, 4), 0.5, np.float32), "shape"),
        (np.full((2, 5), 0.5, np.float32), "shape"),
        (np.full((2, 4), math.nan, np.float32), "no numbers"),
        (np.full((2, 4), 0.6, np.float32), "length 1"),
    ],
)
def test_an_answer_is_looked_at(rows, says):
    info = ModelInfo(name="m", version="1", space="s", dim=4)
    if says is None:
        require_rows(rows, 2, info)
        return
    with pytest.raises(ValueError, match=says):
        require_rows(rows, 2, info)


class Broken(FrameModel, TextModel):
    """A model that can be told to fail, as a GPU that fell off its bus does."""

    info = ModelInfo(name="broken", version="1", space="s", dim=4)
    likelihood = None
    known_words = None

    def __init__(self) -> None:
        self.image, self.text = 0.5, 0.5

    def run(self, pixels):
        if self.image is None:
            raise RuntimeError("CUDA error: device-side assert")
        return np.full((len(pixels), 4), self.image, np.float32)

    def embed_text(self, texts):
        return np.full((len(texts), 4), self.text, np.float32)


def test_a_check_runs_the_engines_own_models():
    async def body():
        model = Broken()
        engine = LocalEngine({EMBEDDING: model}, decoder=None)
        toolkit = Toolkit(engine=engine, encoder=model, decoding=None)
        try:
            await toolkit.check()
            for image, text, says in (
                (None, 0.5, "embedding: RuntimeError: CUDA error"),
                (math.inf, 0.5, "embedding: ValueError: an answer that holds no numbers"),
                (0.5, 0.1, "text: ValueError: embeddings that are not of length 1"),
            ):
                model.image, model.text = image, text
                with pytest.raises(CheckFailed, match=says):
                    await toolkit.check()
        finally:
            engine.close()

    asyncio.run(body())


def test_models_are_loaded_ahead_checked_and_reported(monkeypatch):
    """The real bundled model, in the background; a model that cannot be loaded holds nobody up."""
    monkeypatch.setattr(toolkits_module, "CHECK_S", 0.05)
    jobs = msgspec.structs.replace(DEFAULTS.jobs, models="bundled,local-dir:/nowhere")
    settings = msgspec.structs.replace(DEFAULTS, jobs=jobs)

    async def body(sandbox):
        toolkits = LocalToolkits(settings, sandbox)
        stop = asyncio.Event()
        serving = asyncio.create_task(toolkits.serve(stop))
        while not (reports := toolkits.reports()):
            await asyncio.sleep(0.01)
        assert (reports[0].name, reports[0].state) == ("bundled", "loading")
        with pytest.raises(ModelUnavailable, match="not ViT"):
            await toolkits.get("ViT-L-14/openai")
        with pytest.raises(ModelUnavailable):
            await toolkits.get("local-dir:/nowhere")
        toolkit = await toolkits.get("bundled")
        assert (await toolkits.get("bundled")).engine is toolkit.engine
        states = {report.name: report for report in toolkits.reports()}
        assert states["bundled"].state == "ready"
        assert states["bundled"].dim == toolkit.encoder.info.dim
        assert states["local-dir:/nowhere"].state == "failed"
        assert states["local-dir:/nowhere"].error
        # What breaks later is found out, and that it works again, too.
        works = toolkit.encoder.embed_text
        for broken, state in ((lambda texts: works(texts) * math.nan, "failed"), (works, "ready")):
            toolkit.encoder.embed_text = broken
            while {report.name: report.state for report in toolkits.reports()}["bundled"] != state:
                await asyncio.sleep(0.02)
        stop.set()
        await serving
        await toolkits.close()

    with Sandbox(settings.worker) as sandbox:
        asyncio.run(asyncio.wait_for(body(sandbox), 120))
