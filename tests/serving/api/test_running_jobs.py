"""Jobs that really run, as their owners see them over HTTP."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest

from models.frame_stats import FrameStats
from pipeline import candidates
from pipeline.analyze import analyze
from pipeline.clips import Clip
from pipeline.decode.choice import choose
from pipeline.engine import EngineOptions, LocalEngine
from pipeline.frames import ClipOutput
from pipeline.report import Report
from pipeline.spec import AnalysisSpec
from pipeline.synthesis import Encoding, write_video
from pipeline.toolkit import EMBEDDING, STATS, Toolkit
from serving.event_stream import Event, EventParser
from serving.jobs import progress, running
from serving.jobs.running import Tools
from serving.worker import Worker
from tests.formats.chart import moments
from tests.serving.api.conftest import Api
from tests.serving.jobs.crashing import loaded

#: What comes of chains of Clips takes this long each, seconds.
CHAIN_S = 0.5


class Unhurried(LocalEngine):
    """Takes its time, so that there is something to watch however fast the machine is."""

    async def run(self, clip: Clip) -> ClipOutput:
        """See `Engine.run`."""
        await asyncio.sleep(CHAIN_S)
        return await super().run(clip)


class OneToolkit:
    """The bundled model; `never` is one that is never done loading."""

    def __init__(self, toolkit: Toolkit) -> None:
        self._toolkit = toolkit
        self.asked = asyncio.Event()

    async def get(self, model: str, also: Sequence[str] = ()) -> Toolkit:
        """See `Toolkits.get`."""
        self.asked.set()
        if model == "never":
            await asyncio.Event().wait()
        return self._toolkit


@pytest.fixture(scope="module")
def toolkit():
    """The bundled model behind an engine that takes its time."""
    encoder, decoding = loaded(), choose("pyav")
    options = EngineOptions(decode_threads=1, torch_threads=1, batch_size=8)
    engine = Unhurried({EMBEDDING: encoder, STATS: FrameStats()}, decoding.decoder, options)
    yield Toolkit(engine=engine, encoder=encoder, decoding=decoding.told)
    engine.close()


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Forty seconds, in chains of two."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_video(path, moments(40 * 12), fps=12, encoding=Encoding(gop=24))


@pytest.fixture(autouse=True)
def often(monkeypatch) -> None:
    """What is told every second is told oftener."""
    monkeypatch.setattr(progress, "EVERY_S", 0.05)
    monkeypatch.setattr(candidates, "EVERY_S", 0.2)


@asynccontextmanager
async def worked(api: Api, toolkit: Toolkit) -> AsyncIterator[OneToolkit]:
    """A worker at work while the block lasts."""
    toolkits = OneToolkit(toolkit)
    stop = asyncio.Event()
    worker = Worker(Tools(api.world.queue, api.store, toolkits), slots=1)
    working = asyncio.create_task(worker.serve(stop))
    try:
        yield toolkits
    finally:
        stop.set()
        await working


async def _events(client: httpx.AsyncClient, job: str) -> list[Event]:
    parser = EventParser()
    async with client.stream("GET", f"/v1/jobs/{job}/events") as stream:
        return [event async for chunk in stream.aiter_bytes() for event in parser.feed(chunk)]


async def _posted(api: Api, **request) -> str:
    answer = await api.a.post("/v1/jobs", json=request)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def test_what_is_found_is_told_while_it_is_found(call, toolkit, film):
    async def body(api):
        video = (await api.a.post("/v1/videos", content=film.read_bytes(), params={"filename": "film.mp4"})).json()
        async with worked(api, toolkit):
            job = await _posted(api, video_id=video["id"])
            events = await _events(api.a, job)
            kinds = [event.kind for event in events]
            assert kinds[-1] == "succeeded", events[-1]
            early = [event.data for event in events if event.kind == "candidates"]
            assert early
            assert kinds.index("candidates") < kinds.index("segment")
            ends = [one["until_s"] for one in early]
            assert ends == sorted(ends)
            assert candidates.LEAST_S <= ends[0] < 20.0, "it was told early"
            for one in early:
                assert 0 < len(one["segments"]) <= candidates.MOST
                for segment in one["segments"]:
                    assert 0 <= segment["start_s"] < segment["end_s"] <= one["until_s"]
                    assert segment["reasons"]
            steps = [event.data for event in events if event.kind == "progress"]
            order = ["indexing", "frames", "analysing"]
            places = [(order.index(step["stage"]), step["done"]) for step in steps]
            assert places == sorted(places)
            assert (1, 40) in {(order.index(step["stage"]), step["total"]) for step in steps}
            assert all(step["remaining_s"] is None or step["remaining_s"] >= 0 for step in steps), steps
            await _require_told_well(api, job, video["id"])
            # Another job of the video: its report is its own.
            second = await _posted(api, video_id=video["id"], spec={"segments": {"max_segments": 1}})
            await _events(api.a, second)
            reports = [(await api.a.get(f"/v1/jobs/{name}/report")).json() for name in (job, second)]
            assert [len(report["segments"]) for report in reports][1] == 1 < len(reports[0]["segments"])
            assert (await api.a.get(f"/v1/videos/{video['id']}/report")).json() == reports[1]
            assert (await api.a.get(f"/v1/jobs/{second}")).json()["metrics"]["features"] == "shared"
        plain = await analyze(film, AnalysisSpec(), toolkit)
        found = msgspec.convert(reports[0], Report)
        same = {"timings": plain.timings, "video": plain.video}
        assert msgspec.structs.replace(found, **same) == plain, "candidates changed the report"

    call(body)


async def _require_told_well(api: Api, job: str, video: str) -> None:
    told = (await api.a.get(f"/v1/jobs/{job}")).json()
    metrics = told["metrics"]
    assert (metrics["frames"], metrics["features"], metrics["clips_reused"]) == (40, "computed", 0)
    assert (metrics["decoder"], metrics["device"], metrics["video_s"]) == ("pyav", "cpu", 40.0)
    assert metrics["run_s"] >= 2 * CHAIN_S
    assert metrics["realtime_factor"] == pytest.approx(40 / metrics["run_s"], rel=0.01)
    assert metrics["decode_s"] > 0 < metrics["infer_s"]
    assert told["progress"]["stage"] in ("frames", "analysing")
    assert (await api.a.get(f"/v1/videos/{video}")).json()["status"] == "analyzed"
    assert (await api.b.get(f"/v1/jobs/{job}/report")).status_code == 404


@pytest.mark.parametrize(
    ("model", "loading_s", "timeout_s", "told"),
    [("bundled", 60.0, 0.2, "not done within 0.2 s"), ("never", 0.2, 60.0, "models were not loaded within 0.2 s")],
)
def test_what_takes_too_long_fails_and_is_not_tried_again(
    call, toolkit, film, monkeypatch, model: str, loading_s: float, timeout_s: float, told: str
):
    monkeypatch.setattr(running, "LOADING_S", loading_s)

    async def body(api):
        video = (await api.a.post("/v1/videos", content=film.read_bytes())).json()["id"]
        async with worked(api, toolkit):
            job = await _posted(api, video_id=video, spec={"model": model}, timeout_s=timeout_s)
            last = (await _events(api.a, job))[-1]
            assert (last.kind, last.data["error"]["code"]) == ("failed", "deadline_exceeded")
            assert told in last.data["error"]["detail"]
            found = (await api.a.get(f"/v1/jobs/{job}")).json()
            assert (found["error"]["retryable"], found["attempt"], found["timeout_s"]) == (False, 1, timeout_s)

    call(body)


def test_a_video_that_is_deleted_under_its_job_ends_it_quietly(call, toolkit, film, caplog, monkeypatch):
    monkeypatch.setattr(running, "LOADING_S", 0.1)
    caplog.set_level(logging.WARNING)

    async def body(api):
        video = (await api.a.post("/v1/videos", content=film.read_bytes())).json()["id"]
        async with worked(api, toolkit) as toolkits:
            job = await _posted(api, video_id=video)
            await toolkits.asked.wait()
            assert (await api.a.delete(f"/v1/videos/{video}")).status_code == 204
            assert (await api.a.get(f"/v1/jobs/{job}")).status_code == 404
            # The worker has a hand free again at once.
            other = await _posted(api, video_id="vid_a", spec={"model": "never"})
            async with asyncio.timeout(15):
                assert (await _events(api.a, other))[-1].kind == "failed"
        assert await api.world.sql("SELECT * FROM report") == []

    call(body)
    assert [record for record in caplog.records if record.name.startswith("serving")] == []


def test_what_cannot_be_told_early_costs_the_report_nothing(call, toolkit, film, caplog, monkeypatch):
    asked = 0

    def broken(*_) -> None:
        nonlocal asked
        asked += 1
        raise ValueError("zero-size array")

    monkeypatch.setattr(candidates.Candidates, "_choose", broken)

    async def body(api):
        video = (await api.a.post("/v1/videos", content=film.read_bytes())).json()["id"]
        async with worked(api, toolkit):
            kinds = [event.kind for event in await _events(api.a, await _posted(api, video_id=video))]
        assert (kinds[-1], "candidates" in kinds) == ("succeeded", False)

    call(body)
    assert asked == 1
    assert [record.name for record in caplog.records if record.exc_info] == ["pipeline.candidates"]
