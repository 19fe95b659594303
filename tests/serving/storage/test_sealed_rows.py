"""Rows keep what is sealed as nobody can read it, and what was done to it is told as what it is; rows from before are
read, and sealed."""

import asyncio
import json
import zlib

import msgspec
import pytest
from sqlalchemy import text

from pipeline.errors import Altered, EngineUnavailable, InputNotFound
from serving.db.statements import execute
from serving.jobs import outcomes, submission
from serving.jobs.listening import Listener
from serving.requests import JobRequest
from serving.search import asking
from serving.storage import old_values, reports, rotating
from serving.webhooks import confidential
from serving.workers import Presence
from tests.serving.api.conftest import call
from tests.serving.api.fuzz_world import METRICS
from tests.serving.commands import here
from tests.serving.jobs.conftest import specs

__all__ = ["call"]

#: What is in no row as it is.
SECRET_URL = "https://hooks.example.com/services/T0/B0/a-token-of-its-own"

_ALL = "SELECT string_agg(t::text, ' ') FROM {table} t"


async def _done(world, report, *, spec=None) -> str:
    """A job of tenant a's video, with its report."""
    request = JobRequest(video_id="vid_a", **({"spec": spec} if spec else {}))
    ((made),) = await submission.submit(world.database, "a", [request])
    lease = await world.queue.claim("w")
    await outcomes.succeed(world.database, world.keyring, lease, report, METRICS)
    return made.job.id


async def _text(world, table: str) -> bytes:
    """A table as PostgreSQL writes it: bytes of it in hexadecimal."""
    return str((await world.sql(_ALL.format(table=table)))[0][0]).encode()


def test_a_report_is_in_no_row_and_read_through_the_api(call, sample_report):
    async def body(api):
        job = await _done(api.world, sample_report)
        found = (await api.a.get(f"/v1/jobs/{job}/report")).content
        assert msgspec.json.decode(found) == json.loads(msgspec.json.encode(sample_report))
        ((kept,),) = await api.world.sql("SELECT body FROM report")
        assert len(kept) == len(reports.compressed(sample_report)) + 29
        with pytest.raises(zlib.error):
            zlib.decompress(kept)
        assert reports.compressed(sample_report)[20:60] not in kept

    call(body)


def test_a_report_that_was_tampered_with_is_refused_as_such(call, sample_report):
    async def body(api):
        world = api.world
        one, other = [await _done(world, sample_report, spec=spec) for spec in specs(2)]
        kept = dict(map(tuple, await world.sql("SELECT job_id, body FROM report")))
        bad = {
            "flipped": kept[one][:40] + bytes((kept[one][40] ^ 1,)) + kept[one][41:],
            "cut off": kept[one][:-1],
            "empty": b"",
            "of another row": kept[other],
            "as it is": reports.compressed(sample_report),
        }
        for what, value in bad.items():
            await world.change("UPDATE report SET body = :value WHERE job_id = :job", value=value, job=one)
            answer = await api.a.get(f"/v1/jobs/{one}/report")
            assert (answer.status_code, answer.json()["code"]) == (422, "altered"), what
        # Said to be one from before: it is read as what it is not.
        await world.change(
            "UPDATE report SET body = :body, sealed = false WHERE job_id = :job", body=kept[one], job=one
        )
        assert (await api.a.get(f"/v1/jobs/{one}/report")).json()["code"] == "altered"
        assert (await api.a.get(f"/v1/jobs/{other}/report")).status_code == 200
        await world.change("DELETE FROM data_key WHERE video_id = 'vid_a'")
        assert (await api.a.get(f"/v1/jobs/{other}/report")).status_code == 404

    call(body)


def test_checkpoints_are_read_by_jobs_of_the_same_bytes_and_nothing_of_them_is_guessed(run):
    async def body(world):
        await submission.submit(world.database, "a", [JobRequest(video_id="vid_a")])
        lease = await world.queue.claim("w")
        assert lease is not None
        outputs = [(f"clip {n}", b"output %d" % n) for n in range(3)]
        await world.queue.checkpoint(lease, outputs)
        assert await world.queue.checkpoints(lease) == dict(outputs)
        assert b"output 0".hex().encode() not in await _text(world, "checkpoint")
        swap = """
            UPDATE checkpoint SET output = (SELECT output FROM checkpoint WHERE clip = 'clip 1') WHERE clip = 'clip 0'
        """
        await world.change(swap)
        assert await world.queue.checkpoints(lease) == dict(outputs[1:])
        await world.change("DELETE FROM data_key")
        assert await world.queue.checkpoints(lease) == {}
        await world.change("DELETE FROM job")
        await world.change("DELETE FROM video WHERE id = 'vid_a'")
        assert await world.sql("SELECT * FROM checkpoint") == []

    run(body)


def test_a_question_is_in_no_row_as_it_was_asked(run, url, monkeypatch):
    monkeypatch.setattr(asking, "PATIENCE_S", 0.0)
    seen = []

    async def body(world):
        worker = Presence(world.database, "wrk_1", slots=1, busy=lambda: 0, models=lambda: (), changed=asyncio.Event())
        await worker.beat()
        async with Listener(url, (asking.ANSWER_CHANNEL,)) as listener:
            one = asking.Asking(world.database, world.keyring, listener)
            real = one._answered

            async def looked(*arguments):
                seen.append(await _text(world, "question"))
                return await real(*arguments)

            monkeypatch.setattr(one, "_answered", looked)
            with pytest.raises(EngineUnavailable):
                await one.texts("a", "bundled", "space", ["a red circle"])
            with pytest.raises(EngineUnavailable):
                await one.picture("a", "bundled", "space", b"\xff\xd8\xff a picture")

    run(body)
    assert len(seen) == 2
    assert all(b"bundled" in row for row in seen)
    for row in seen:
        for word in (b"a red circle", b"\xff\xd8\xff a picture"):
            assert word.hex().encode() not in row
            assert word not in row


async def _old(world, report) -> dict[str, str]:
    """Rows as they were before they were sealed; ids."""
    job = await _done(world, report)
    body = reports.compressed(report)
    await world.change("UPDATE report SET body = :body, sealed = false", body=body)
    await world.change("DELETE FROM data_key")
    await world.change(
        "INSERT INTO webhook_endpoint (id, tenant_id, url, description, events, secret, previous_secret) "
        "VALUES ('whk_00000000000000000000000001', 'a', :url, '', '{}', 'whsec_b2xk', 'whsec_b2xkZXI=')",
        url=SECRET_URL,
    )
    await world.change(
        "INSERT INTO upload (id, tenant_id, status, method, received_bytes, url, expires_at) "
        "VALUES ('upl_00000000000000000000000001', 'b', 'errored', 'url', 0, :url, now() + interval '1 d')",
        url=f"{SECRET_URL}?token=x",
    )
    return {"job": job}


async def _seen(api, job: str) -> list:
    report = (await api.a.get(f"/v1/jobs/{job}/report")).json()
    hook = (await api.a.get("/v1/webhooks/whk_00000000000000000000000001")).json()
    upload = (await api.b.get("/v1/uploads/upl_00000000000000000000000001")).json()
    assert (hook["url"], upload["url"]) == (SECRET_URL, SECRET_URL)
    return [report, hook, upload, (await api.a.get("/v1/webhooks")).json(), (await api.b.get("/v1/uploads")).json()]


def test_rows_from_before_are_read_and_sealed(call, url, tmp_path, sample_report):
    async def body(api):
        world = api.world
        made = await _old(world, sample_report)
        before = await _seen(api, made["job"])
        assert (await rotating.status(world.database, world.keyring)).unsealed_values == 3
        assert await old_values.seal(world.database, world.keyring) == 3
        assert await old_values.seal(world.database, world.keyring) == 0
        assert (await rotating.status(world.database, world.keyring)).unsealed_values == 0
        assert await _seen(api, made["job"]) == before
        for table in ("webhook_endpoint", "upload"):
            assert SECRET_URL.encode() not in await _text(world, table)
            assert b"whsec" not in await _text(world, table)
        ((sealed,),) = await world.sql("SELECT sealed FROM report")
        assert sealed
        # Both secrets go on to sign.
        async with world.database.read("a") as session:
            row = (await execute(session, text("SELECT * FROM webhook_endpoint"))).one()
            known = await confidential.opened(world.keyring.of_tenants(session), row)
        assert (known.secret, known.previous_secret) == ("whsec_b2xk", "whsec_b2xkZXI=")
        await world.change("UPDATE webhook_endpoint SET sealed = (SELECT sealed FROM upload)")
        answer = await api.a.get("/v1/webhooks")
        assert (answer.status_code, answer.json()["code"]) == (422, "altered")

    call(body)


def test_what_was_written_over_leaves_the_disk_though_it_was_ended_before_that(run, monkeypatch, sample_report):
    files = "SELECT relname, pg_relation_filenode(oid) FROM pg_class WHERE relname IN ('report', 'webhook_endpoint')"

    async def body(world):
        async def owed() -> tuple[str, ...]:
            return (await rotating.status(world.database, world.keyring)).written_over

        await _old(world, sample_report)
        assert await owed() == ()
        before = dict(map(tuple, await world.sql(files)))

        async def ended(*_) -> None:
            raise InterruptedError

        with monkeypatch.context() as patched:
            patched.setattr(old_values, "_written_anew", ended)
            with pytest.raises(InterruptedError):
                await old_values.seal(world.database, world.keyring)
        assert await owed() == ("report", "upload", "webhook_endpoint")
        assert dict(map(tuple, await world.sql(files))) == before
        assert await old_values.seal(world.database, world.keyring) == 0
        after = dict(map(tuple, await world.sql(files)))
        assert all(after[table] != before[table] for table in before)
        assert await owed() == ()

    run(body)


def test_the_command_tells_what_is_to_be_sealed(run, url, tmp_path, sample_report):
    async def old(world):
        await _old(world, sample_report)
        await world.change("DELETE FROM tenant_key")

    run(old)
    settings = {"AUTOMATIONS_SERVER__DATABASE_URL": url, "AUTOMATIONS_SERVER__DATA_DIR": tmp_path / "data"}
    assert "unsealed rows    3 (stop" in here("keys", "status", **settings).stdout
    assert here("keys", "seal", **settings).stdout == "0 videos sealed, 2 cannot be; 3 rows sealed\n"
    said = here("keys", "status", **settings).stdout
    assert "written over" not in said
    assert "unsealed rows    0\n" in said
    assert "sealed rows      of 3 videos and tenants" in said


def test_a_report_whose_key_is_gone_is_gone(run, sample_report):
    async def body(world):
        job = await _done(world, sample_report)
        await world.change("DELETE FROM data_key WHERE video_id = 'vid_a'")
        async with world.database.read("a") as session:
            with pytest.raises(InputNotFound):
                await reports.of_job(session, world.keyring, "a", job)
        # Nor does another key open it.
        async with world.database.write("video.write", "a") as session:
            await world.keyring.values_to_seal(session, "a", "vid_a")
        async with world.database.read("a") as session:
            with pytest.raises(Altered):
                await reports.of_job(session, world.keyring, "a", job)

    run(body)
