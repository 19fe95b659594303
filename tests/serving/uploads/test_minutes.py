"""How many minutes of video a tenant may keep: counted once a job knows, then asked at the door. All that is kept is in
a bucket, where a job reads it like any other video."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from models.frame_stats import FrameStats
from pipeline.decode.choice import choose
from pipeline.engine import EngineOptions, LocalEngine
from pipeline.sandbox.client import Sandbox
from pipeline.sandbox.media import SandboxedMedia
from pipeline.synthesis import Encoding, write_video
from pipeline.toolkit import EMBEDDING, STATS, Toolkit
from serving.db.database import SYSTEM
from serving.jobs.running import Tools
from serving.uploads import minutes
from serving.worker import Worker
from tests.formats.chart import moments
from tests.serving.api.conftest import Api, call
from tests.serving.buckets import ENDPOINT
from tests.serving.jobs.crashing import loaded
from tests.serving.uploads.conftest import TUS

__all__ = ["call"]

DURATION_S = 40
SPEC = {"sampling": {"fps": 0.1}}


class _OneToolkit:
    def __init__(self, toolkit: Toolkit) -> None:
        self._toolkit = toolkit

    async def get(self, model: str, also=()) -> Toolkit:
        return self._toolkit


@pytest.fixture(scope="module")
def toolkit():
    """The bundled model, and a locked-in process that reads videos."""
    encoder, decoding = loaded(), choose("pyav")
    options = EngineOptions(decode_threads=1, torch_threads=1, batch_size=8)
    engine = LocalEngine({EMBEDDING: encoder, STATS: FrameStats()}, decoding.decoder, options)
    with Sandbox(required=True) as sandbox:
        yield Toolkit(
            engine=engine,
            encoder=encoder,
            decoding=decoding.told,
            open=lambda video: SandboxedMedia(video, sandbox),
        )
    engine.close()


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> bytes:
    """Two thirds of a minute."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_video(path, moments(2 * DURATION_S), fps=2, encoding=Encoding(gop=10)).read_bytes()


@asynccontextmanager
async def _worker(api: Api, toolkit: Toolkit):
    stop = asyncio.Event()
    worker = Worker(Tools(api.world.queue, api.store, _OneToolkit(toolkit)), slots=2)
    working = asyncio.create_task(worker.serve(stop))
    try:
        yield
    finally:
        stop.set()
        await working


async def _done(api: Api, job: str) -> dict:
    async with asyncio.timeout(120):
        while (now := (await api.a.get(f"/v1/jobs/{job}")).json())["state"] in ("queued", "running"):
            await asyncio.sleep(0.1)
    return now


async def _analysed(api: Api, *videos: str) -> list[dict]:
    jobs = [(await api.a.post("/v1/jobs", json={"video_id": video, "spec": SPEC})).json()["id"] for video in videos]
    return [await _done(api, job) for job in jobs]


async def _allow(api: Api, allowed: int | None) -> None:
    async with api.world.database.write("tenant.quota", SYSTEM) as session:
        await minutes.set_quota(session, "a", allowed)


async def _uploaded(api: Api, content: bytes) -> str:
    answer = await api.a.post("/v1/videos", content=content)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_minutes_count_once_they_are_known(call, toolkit, film, s3_server, monkeypatch):
    monkeypatch.setenv(ENDPOINT, s3_server)
    # The same pictures, other bytes.
    more = film + b"\0\0\0\x08free"

    async def body(api):
        # It has two videos whose objects are nowhere, of another length.
        await api.world.change("UPDATE video SET duration_s = NULL")
        await _allow(api, 1)
        one, other = await _uploaded(api, film), await _uploaded(api, more)
        used = (await api.a.get("/v1/usage")).json()
        assert (used["used_minutes"], used["allowed_minutes"]) == (0, 1), "nobody has looked at them yet"
        async with _worker(api, toolkit):
            jobs = await _analysed(api, one, other)
            assert sorted(job["state"] for job in jobs) == ["failed", "succeeded"], jobs
            (failed,) = [job for job in jobs if job["state"] == "failed"]
            assert failed["error"]["code"] == "quota_exceeded"
            assert "1.3 of 1 minutes are used" in failed["error"]["detail"]
            assert (await api.a.get("/v1/usage")).json()["used_minutes"] == pytest.approx(80 / 60, abs=0.01)
            for answer in (
                await api.a.post("/v1/videos", content=film + b"\0\0\0\x08skip"),
                await api.a.post("/v1/uploads", headers=TUS | {"Upload-Length": "1000"}),
                await api.a.post("/v1/uploads/url", json={"url": "https://example.com/x.mp4"}),
            ):
                assert (answer.status_code, answer.json()["code"]) == (413, "quota_exceeded")
                assert "1.3 of 1 minutes" in answer.json()["detail"]
            # One that was analysed is there, and may be analysed again; the other may not, while it is too much.
            states = [job["state"] for job in await _analysed(api, one, other)]
            assert states == [job["state"] for job in jobs]
            kept, refused = (one, other) if jobs[0]["state"] == "succeeded" else (other, one)
            assert (await api.a.delete(f"/v1/videos/{kept}")).status_code == 204
            assert [job["state"] for job in await _analysed(api, refused)] == ["succeeded"]

    call(body)
