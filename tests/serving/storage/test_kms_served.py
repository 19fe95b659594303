"""A server whose master key a KMS has: what it costs, what holds while that is away, and once its key is disabled."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import httpx
import pytest

from models import catalog
from models.frame_stats import FrameStats
from pipeline.decode.choice import choose
from pipeline.engine import EngineOptions, LocalEngine
from pipeline.spec import AnalysisSpec, Sampling
from pipeline.synthesis import Encoding, write_video
from pipeline.toolkit import EMBEDDING, STATS, Toolkit
from serving import checking
from serving.jobs import running, submission
from serving.jobs.queue import Queue
from serving.jobs.running import Tools
from serving.jobs.submission import JobRequest
from serving.storage import aws_kms, keyring, remote_master, rotating
from serving.storage.keyring import Keyring, fresh_key
from serving.storage.master import LocalMaster, SeveralMasters
from serving.storage.masters import masters
from serving.storage.store import Store
from tests.formats.chart import moments
from tests.serving.api.conftest import made_key, served
from tests.serving.kms import Kms, kms

#: For how long tenants' keys are kept, seconds.
KEPT_S = 60.0


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> bytes:
    """A second of video."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_video(path, moments(12), fps=12, encoding=Encoding(gop=6)).read_bytes()


@pytest.fixture(scope="module")
def service():
    """A KMS. It may take its time: machines are shared."""
    with pytest.MonkeyPatch.context() as patch, kms() as made:
        patch.setattr(remote_master, "WAIT_S", 60.0)
        patch.setattr(keyring, "PATIENCE_S", 60.0)
        patch.setattr(aws_kms, "_READ_S", 20.0)
        yield made


@pytest.fixture
def later(monkeypatch):
    """Has keys be as old as they are to be kept."""
    ahead_s = 0.0

    def later() -> None:
        nonlocal ahead_s
        ahead_s += KEPT_S

    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + ahead_s)
    monkeypatch.setattr("serving.storage.keyring.time", clock)
    return later


def _store(folder, service: Kms, key: str) -> Store:
    return Store(folder, Keyring(masters([service.address(key)], KEPT_S)))


@asynccontextmanager
async def _client(world, url: str, store: Store, tenant: str = "a") -> AsyncIterator[httpx.AsyncClient]:
    """Of a server that is started for the block."""
    key = await made_key(world.database, tenant)
    async with served(url, store) as address:
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=address, headers=headers, timeout=30, verify=False) as client:
            yield client


async def _uploaded(client: httpx.AsyncClient, film: bytes) -> str:
    answer = await client.post("/v1/videos", content=film, params={"filename": "film.mp4"})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def _read(client: httpx.AsyncClient, video: str) -> bytes:
    answer = await client.get(f"/v1/videos/{video}/stream")
    assert answer.status_code == 200, answer.text
    return answer.content


async def _refused(client: httpx.AsyncClient, video: str) -> None:
    """As what passes."""
    answer = await client.get(f"/v1/videos/{video}/stream")
    assert (answer.status_code, answer.json()["code"]) == (503, "master_key_unavailable"), answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["retryable"]
    assert not any(said in answer.text for said in ("127.0.0.1", "aws", "Exception"))


def test_a_call_for_a_tenant_and_a_process_however_much_is_asked_of_it(run, url, tmp_path, film, service):
    async def body(world):
        key = service.key()
        service.asked.clear()
        async with _client(world, url, _store(tmp_path, service, key)) as client:
            video = await _uploaded(client, film)
            for _ in range(5):
                assert await _read(client, video) == film
                await client.post("/v1/videos", content=film + bytes(8))
            # The tenant's key, and that of the audit log; each is made once, and unwrapped once.
            assert service.asked == {"encrypt": 2, "decrypt": 2}
        # Another process, or the same one started again.
        async with _client(world, url, _store(tmp_path, service, key)) as client:
            assert await _read(client, video) == film
        assert service.asked == {"encrypt": 2, "decrypt": 4}
        uses = await world.sql("SELECT targets FROM audit WHERE operation = 'key.unwrap'")
        assert [list(row.targets) for row in uses] == [["a/1"], ["a/1"]]
        masters_of = await world.sql("SELECT master FROM tenant_key UNION ALL SELECT master FROM audit_key")
        assert {row.master for row in masters_of} == {f"aws-kms:{key}"}

    run(body)


def test_while_it_is_away_all_is_told_in_time_and_all_works_after_that(
    run, url, tmp_path, film, service, later, monkeypatch
):
    monkeypatch.setattr(checking, "TRUSTED_S", 0.0)
    monkeypatch.setattr(remote_master, "ANSWERED_S", 0.0)
    monkeypatch.setattr(remote_master, "REST_S", 0.2)

    async def body(world):
        async with _client(world, url, _store(tmp_path, service, service.key())) as client:

            async def ready() -> tuple[int, str]:
                answer = await client.get("/readyz", params={"part": "api"})
                return answer.status_code, answer.json()["checks"]["keys"]

            video = await _uploaded(client, film)
            assert await ready() == (200, "ok")
            service.stop()
            try:
                # What is kept is good for a while.
                assert await _read(client, video) == film
                later()
                await _refused(client, video)
                assert (await client.get(f"/v1/videos/{video}")).status_code == 200
                answer = await client.post("/v1/videos", content=film + bytes(8))
                assert (answer.status_code, answer.json()["code"]) == (503, "master_key_unavailable")
                status, said = await ready()
                assert (status, said.startswith("aws-kms:")) == (503, True)
            finally:
                service.start()
            await asyncio.sleep(0.2)
            assert await _read(client, video) == film
            assert await ready() == (200, "ok")
            # What could not be kept left no object.
            assert len([file for file in (tmp_path / "videos").iterdir() if file.is_file()]) == 1

    run(body)


def test_a_key_that_is_disabled_there_makes_all_unreadable(run, url, tmp_path, film, service, later):
    async def body(world):
        key = service.key()
        async with _client(world, url, _store(tmp_path, service, key)) as client:
            video = await _uploaded(client, film)
            service.enable(key, enabled=False)
            assert await _read(client, video) == film
            later()
            await _refused(client, video)
            service.enable(key)
            assert await _read(client, video) == film

    run(body)


def test_a_server_starts_while_it_is_away(run, url, tmp_path, film, service):
    async def body(world):
        key = service.key()
        async with _client(world, url, _store(tmp_path, service, key)) as client:
            video = await _uploaded(client, film)
        service.stop()
        try:
            async with _client(world, url, _store(tmp_path, service, key)) as client:
                assert (await client.get("/v1/videos")).status_code == 200
                await _refused(client, video)
        finally:
            service.start()

    run(body)


def test_the_key_of_one_tenant_is_not_that_of_another(run, url, tmp_path, film, service):
    async def body(world):
        key = service.key()
        store = _store(tmp_path, service, key)
        async with world.database.write("video.write", "a") as session:
            await store.keyring.keep(session, "a", "videos/a", fresh_key(), video_id="vid_a")
        async with _client(world, url, store, "b") as client:
            video = await _uploaded(client, film)
        # Somebody who may write to the database gives tenant b the key of tenant a, and knows that one.
        await world.change(
            "UPDATE tenant_key SET wrapped = other.wrapped FROM tenant_key other "
            "WHERE tenant_key.tenant_id = 'b' AND other.tenant_id = 'a'"
        )
        async with _client(world, url, _store(tmp_path, service, key), "b") as client:
            answer = await client.get(f"/v1/videos/{video}/stream")
            assert (answer.status_code, answer.json()["code"]) == (422, "altered")

    run(body)


def test_from_a_file_to_a_kms_to_another_key_of_it_and_back(run, url, tmp_path, film, service):
    local = LocalMaster([bytes(range(32))])
    first, second = (masters([service.address(service.key())], 60.0) for _ in range(2))

    async def body(world):
        async with _client(world, url, Store(tmp_path, Keyring(local))) as client:
            await _uploaded(client, film)
        (kept,) = await world.sql("SELECT object_key FROM data_key")

        async def key_of(master) -> bytes | None:
            async with world.database.read("a") as session:
                return await Keyring(master).key_of(session, "a", kept.object_key)

        key = await key_of(local)
        blobs = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}
        for new, old in ((first, local), (second, first), (local, second)):
            both = Keyring(SeveralMasters([new, old]))
            done = await rotating.rotate(world.database, both)
            assert done.under_master == 1
            assert (await rotating.status(world.database, Keyring(new))).masters == {new.name: 2}
            # The old one is not needed any more.
            assert await key_of(new) == key
        assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()} == blobs

    run(body)


def test_a_job_waits_until_it_is_back_and_pays_no_attempt(run, url, tmp_path, film, service, monkeypatch):
    monkeypatch.setattr(running, "AWAY_S", 0.1)

    async def body(world):
        key = service.key()
        async with _client(world, url, _store(tmp_path, service, key)) as client:
            video = await _uploaded(client, film)
        spec = AnalysisSpec(model="bundled", shots=False, sampling=Sampling(fps=2.0))
        await submission.submit(world.database, "a", [JobRequest(video_id=video, spec=spec)])
        encoder, choice = catalog.load("bundled", "cpu", "float32").model, choose("pyav")
        engine = LocalEngine({EMBEDDING: encoder, STATS: FrameStats()}, choice.decoder, EngineOptions(decode_threads=1))
        toolkit = Toolkit(engine=engine, encoder=encoder, decoding=choice.told)

        class Toolkits:
            async def get(self, model, also=()):
                return toolkit

        store = _store(tmp_path, service, key)
        queue = Queue(world.database, store.keyring, lease_s=30.0)

        async def work() -> None:
            lease = await queue.claim("w")
            assert lease is not None
            await running.run(lease, Tools(queue, store, Toolkits()), asyncio.Event())

        service.stop()
        try:
            await work()
        finally:
            service.start()
        assert [tuple(row) for row in await world.sql("SELECT state, attempt FROM job")] == [("queued", 0)]
        events = await world.sql("SELECT data->>'reason' AS reason FROM event WHERE kind = 'queued' ORDER BY number")
        assert [row.reason for row in events] == ["submitted", "master_key_unavailable"]
        await asyncio.sleep(remote_master.REST_S + 0.1)
        await work()
        assert [row.state for row in await world.sql("SELECT state FROM job")] == ["succeeded"]
        engine.close()

    run(body)
