"""Whoever plays a video first after it was analysed, or encoded for browsers, waits for nobody who reads all of it."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from models.frame_stats import FrameStats
from pipeline.decode.choice import choose
from pipeline.engine import EngineOptions, LocalEngine
from pipeline.errors import CorruptVideo
from pipeline.toolkit import EMBEDDING, STATS, Toolkit
from serving.derived import priming
from serving.derived.priming import Primer
from serving.jobs.running import Tools
from serving.playback.hls import Hls
from serving.playback.renderer import Renderer
from serving.settings import DEFAULTS
from serving.worker import Worker
from tests.serving.api.conftest import Api
from tests.serving.derived.conftest import answers, started
from tests.serving.jobs.crashing import loaded
from tests.serving.playback.conftest import uploaded


class _OneToolkit:
    def __init__(self, toolkit: Toolkit) -> None:
        self._toolkit = toolkit

    async def get(self, model: str, also: Sequence[str] = ()) -> Toolkit:
        """See `Toolkits.get`."""
        return self._toolkit


@pytest.fixture(scope="module")
def toolkit():
    """The bundled model."""
    encoder, decoding = loaded(), choose("pyav")
    options = EngineOptions(decode_threads=1, torch_threads=1, batch_size=8)
    engine = LocalEngine({EMBEDDING: encoder, STATS: FrameStats()}, decoding.decoder, options)
    yield Toolkit(engine=engine, encoder=encoder, decoding=decoding.told)
    engine.close()


@pytest.fixture(autouse=True)
def all_of_them(monkeypatch) -> None:
    """Films of tests are small."""
    monkeypatch.setattr(priming, "LEAST_BYTES", 1)


@asynccontextmanager
async def _at_work(api: Api, toolkit: Toolkit) -> AsyncIterator[None]:
    """A worker that takes jobs and encodes, while the block lasts."""
    stop = asyncio.Event()
    primer = Primer(api.world.database, api.store, DEFAULTS)
    worker = Worker(Tools(api.world.queue, api.store, _OneToolkit(toolkit)), slots=1, primer=primer)
    renderer = Renderer(api.world.database, api.store, DEFAULTS, primer=primer)
    working = asyncio.gather(*(one.serve(stop) for one in (worker, renderer, primer)))
    try:
        yield
    finally:
        stop.set()
        await working


async def _analysed(api: Api, video: str) -> None:
    job = (await api.a.post("/v1/jobs", json={"video_id": video})).json()["id"]
    async with asyncio.timeout(60):
        while (await api.a.get(f"/v1/jobs/{job}")).json()["state"] != "succeeded":
            await asyncio.sleep(0.05)


async def _kept(api: Api, *names: str) -> None:
    """Until all of that is kept."""
    ends = time.monotonic() + 30
    while {row.name for row in await api.world.sql("SELECT name FROM derived")} != set(names):
        assert time.monotonic() < ends
        await asyncio.sleep(0.05)


def test_after_an_analysis_nothing_is_read_to_play_it(call, url, h264, toolkit, read):
    async def body(api):
        video = await uploaded(api.a, h264, "x.mp4")
        async with _at_work(api, toolkit):
            await _analysed(api, video)
            await _kept(api, "cut", "packets", "poster", "storyboard")
        read.clear()
        async with started(api, url) as client:
            await answers(client, video, "hls/index.m3u8", "pictures", "storyboard.vtt", "storyboard.jpg")
        assert read == []

    call(body)


def test_a_rendition_is_played_at_once(call, url, hevc, toolkit, read, caplog):
    caplog.set_level(logging.INFO, "serving.derived")

    async def body(api):
        video = await uploaded(api.a, hevc, "x.mp4")
        async with _at_work(api, toolkit):
            await _analysed(api, video)
            await _kept(api, "cut", "packets", "poster", "storyboard")
            assert caplog.text == "", "that browsers do not play it is no news"
            assert (await api.a.post(f"/v1/videos/{video}/rendition")).status_code == 202
            async with asyncio.timeout(60):
                while len(await api.world.sql("SELECT name FROM derived WHERE name = 'cut'")) < 2:
                    await asyncio.sleep(0.05)
        read.clear()
        async with started(api, url) as client:
            found = await answers(client, video, "hls/index.m3u8", "playback")
        assert (read, b'"hls":"rendition"' in found["playback"]) == ([], True)

    call(body)


def test_small_ones_are_left_to_who_asks(call, h264, toolkit, monkeypatch):
    monkeypatch.setattr(priming, "LEAST_BYTES", len(h264) + 1)

    async def body(api):
        video = await uploaded(api.a, h264, "x.mp4")
        primer = Primer(api.world.database, api.store, DEFAULTS)
        await primer.prime("a", video)
        await primer.prime("a", "vid_none")
        await primer.prime("b", video)
        assert await api.world.sql("SELECT name FROM derived") == []

    call(body)


def test_what_goes_wrong_harms_no_job_and_not_the_next(call, h264, toolkit, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "serving.derived")
    cut, faults = Hls.cut, [CorruptVideo("read as damaged"), RuntimeError("a fault of ours")]

    async def failing(self, source):
        if faults:
            raise faults.pop(0)
        return await cut(self, source)

    monkeypatch.setattr(Hls, "cut", failing)

    async def body(api):
        videos = [await uploaded(api.a, h264 + bytes(n), "x.mp4") for n in (8, 16, 24)]
        async with _at_work(api, toolkit):
            for video in videos:
                await _analysed(api, video)
            await _kept(api, "cut", "packets", "poster", "storyboard")
        ((whose,),) = await api.world.sql("SELECT DISTINCT video_id FROM derived")
        assert whose == videos[2]
        assert [record.levelname for record in caplog.records] == ["INFO", "ERROR"]
        assert "read as damaged" in caplog.text

    call(body)
