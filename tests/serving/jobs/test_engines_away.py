"""Jobs whose engines are elsewhere: away for a while, or with another model in the middle of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from models import catalog
from models.frame_stats import FrameStats
from pipeline.decode.choice import choose
from pipeline.engine import EngineOptions, LocalEngine
from pipeline.errors import EngineFault, EngineUnavailable, ModelReplaced
from pipeline.spec import AnalysisSpec, Sampling
from pipeline.synthesis import Encoding, write_video
from pipeline.toolkit import EMBEDDING, STATS, Toolkit
from serving.jobs import running, submission
from serving.jobs.running import MAX_BEGINNINGS, Tools
from serving.jobs.submission import JobRequest
from tests.pipeline.conftest import busy_frames
from tests.serving.sealing import store_at


class Failing:
    """An engine whose Clip number `at` fails, and those before it do not."""

    def __init__(self, engine: LocalEngine, error: Exception | None, at: int = 2) -> None:
        self._engine, self._error, self._at = engine, error, at
        self.ran = 0

    async def run(self, clip):
        self.ran += 1
        if self._error is not None and self.ran >= self._at:
            raise self._error
        return await self._engine.run(clip)

    async def check(self):
        await self._engine.check()


class Versions:
    """Toolkits that are asked for in turn; the last one again and again."""

    def __init__(self, *toolkits: Toolkit | Exception) -> None:
        self._toolkits = list(toolkits)
        self.asked = 0

    async def get(self, model: str, also: Sequence[str] = ()) -> Toolkit:
        self.asked += 1
        found = self._toolkits.pop(0) if len(self._toolkits) > 1 else self._toolkits[0]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(store, toolkit): a film under the key `a`, and what runs it."""
    folder = tmp_path_factory.mktemp("store")
    write_video(folder / "film.mp4", busy_frames(120), fps=30, encoding=Encoding(gop=12))
    (folder / "film.mp4").rename(folder / "a")
    encoder, choice = catalog.load("bundled", "cpu", "float32").model, choose("pyav")
    engine = LocalEngine({EMBEDDING: encoder, STATS: FrameStats()}, choice.decoder, EngineOptions(decode_threads=1))
    yield store_at(folder), Toolkit(engine=engine, encoder=encoder, decoding=choice.told)
    engine.close()


def failing(toolkit: Toolkit, error: Exception | None = None) -> Toolkit:
    return replace(toolkit, engine=Failing(toolkit.engine, error))


def as_another(toolkit: Toolkit) -> Toolkit:
    """The same, said to be another model: in another arithmetic."""

    class Another:
        info = replace(toolkit.encoder.info, dtype="bfloat16")

        def __getattr__(self, name):
            return getattr(toolkit.encoder, name)

    return replace(toolkit, encoder=Another())


async def run_once(world, store, versions) -> None:
    """Claim a job and work on it, once."""
    lease = await world.queue.claim("w")
    assert lease is not None
    await running.run(lease, Tools(world.queue, store, versions), asyncio.Event())


async def submitted(world) -> str:
    spec = AnalysisSpec(model="bundled", shots=False, sampling=Sampling(fps=15.0))
    ((made,),) = [await submission.submit(world.database, "a", [JobRequest(video_id="vid_a", spec=spec)])]
    return made.job.id


async def job(world):
    ((state, attempt, error, wait_s),) = await world.sql(
        "SELECT state, attempt, error, extract(epoch FROM run_after - now())::float FROM job"
    )
    return state, attempt, error, wait_s


def test_a_job_whose_engine_is_away_waits_and_pays_no_attempt(run, made, monkeypatch):
    monkeypatch.setattr(running, "AWAY_S", 0.2)
    store, toolkit = made

    async def body(world):
        await submitted(world)
        # It is away before the first frame, then in the middle, more often than a job may fail; then it is there.
        for versions in (
            *(Versions(EngineUnavailable("no replica answers")) for _ in range(4)),
            *(Versions(failing(toolkit, EngineUnavailable("no replica answers"))) for _ in range(4)),
        ):
            await run_once(world, store, versions)
            state, attempt, _, wait_s = await job(world)
            assert (state, attempt) == ("queued", 0)
            assert 0 < wait_s < 0.25
            assert await world.queue.claim("w") is None, "it waits a little"
            await asyncio.sleep(0.25)
        versions = Versions(failing(toolkit))
        await run_once(world, store, versions)
        assert (await job(world))[:2] == ("succeeded", 1)
        events = await world.sql("SELECT data->>'reason' FROM event WHERE kind = 'queued' ORDER BY number")
        assert [reason for (reason,) in events] == ["submitted"] + ["engine_unavailable"] * 8

    run(body)


def test_a_job_whose_model_is_replaced_begins_anew_with_the_other(run, made):
    store, toolkit = made

    async def body(world):
        await submitted(world)
        first, second = failing(toolkit, ModelReplaced("it is another one")), failing(as_another(toolkit))
        versions = Versions(first, second)
        await run_once(world, store, versions)
        assert (await job(world))[:2] == ("succeeded", 1)
        assert versions.asked == 2
        assert first.engine.ran >= 2
        # Nothing of the first model's was taken for the second one's.
        ((clips,),) = await world.sql("SELECT (metrics->>'clips_reused')::int FROM job")
        assert clips == 0
        assert second.engine.ran > first.engine.ran

    run(body)


def test_a_job_does_not_begin_anew_for_ever(run, made):
    store, toolkit = made

    async def body(world):
        await submitted(world)
        versions = Versions(failing(toolkit, ModelReplaced("it is another one")))
        await run_once(world, store, versions)
        assert versions.asked == MAX_BEGINNINGS
        state, attempt, error, _ = await job(world)
        assert (state, attempt) == ("queued", 1)
        assert error["code"] == "model_replaced"

    run(body)


def test_a_fault_of_an_engine_costs_an_attempt(run, made):
    store, toolkit = made

    async def body(world):
        await submitted(world)
        await run_once(world, store, Versions(failing(toolkit, EngineFault("3 replicas ended"))))
        state, attempt, error, _ = await job(world)
        assert (state, attempt, error["code"], error["retryable"]) == ("queued", 1, "engine_fault", True)

    run(body)


def test_waiting_for_an_engine_is_no_part_of_an_attempt(run, made):
    store, toolkit = made

    class Late(Versions):
        async def get(self, model: str, also: Sequence[str] = ()) -> Toolkit:
            await asyncio.sleep(3.1)
            return await super().get(model, also)

    async def body(world):
        await submitted(world)
        lease = await world.queue.claim("w")
        await running.run(lease, Tools(world.queue, store, Late(failing(toolkit)), timeout_s=3.0), asyncio.Event())
        state, _, error, _ = await job(world)
        assert state != "failed" or error["code"] != "deadline_exceeded", error

    run(body)
