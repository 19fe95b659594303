"""What is over and old goes, what is fresh or in use stays; on a real database."""

import asyncio

import msgspec

from serving import cleaning, old_rows
from serving.cleaning import Chore
from serving.jobs import submission
from serving.options import CleaningOptions
from serving.requests import JobRequest
from serving.settings import DEFAULTS
from tests.serving.jobs.conftest import run, url
from tests.serving.sealing import store_at

__all__ = ["run", "url"]

#: All that is kept for some time, kept for an hour; rows below are two hours old, or fresh.
HOUR_S = 3600

ROWS = """
    INSERT INTO job (tenant_id, id, video_id, spec, feature_key, state, priority, attempt, deaths, max_attempts, fence,
            cancel_requested, progress, metrics, event_number, finished_at)
        SELECT 'a', name, 'vid_a', '{}', name, state, 0, 1, 0, 5, 1, false, '{}', '{}', 0, now() - age
        FROM (VALUES ('failed', 'failed', interval '2 h'), ('canceled', 'canceled', '2 h'),
            ('lately', 'failed', '5 min'), ('running', 'running', NULL), ('queued', 'queued', NULL)
        ) job (name, state, age);
    -- another that wants the same features
    UPDATE job SET feature_key = 'canceled' WHERE id = 'queued';
    INSERT INTO checkpoint (tenant_id, video_id, feature_key, clip, output, created_at)
        SELECT 'a', 'vid_a', key, n::text, '', now() - age
        FROM (VALUES ('failed', interval '2 h'), ('failed', '5 min'), ('canceled', '2 h'), ('lately', '2 h'),
            ('running', '2 h'), ('nobody', '2 h')) one (key, age), generate_series(1, 2) n
        ON CONFLICT DO NOTHING;
    UPDATE checkpoint SET created_at = now() WHERE feature_key = 'failed' AND clip = '2';
    INSERT INTO idempotency_key (tenant_id, operation, key, digest, target, created_at)
        SELECT 'a', 'submit_job', key, '', target, now() - age
        FROM (VALUES ('key:old', 'failed', interval '2 h'), ('key:fresh', 'failed', '5 min'),
            ('id:failed', 'failed', '2 h'), ('id:deleted', 'deleted', '2 h')) one (key, target, age);
    INSERT INTO webhook_endpoint (id, tenant_id, url, description, events, secret)
        VALUES ('e', 'a', 'u', '', '{}', 's');
    INSERT INTO webhook_message (id, tenant_id, type, source, payload, created_at)
        SELECT name, 'a', 't', name, '{}', now() - age
        FROM (VALUES ('delivered', interval '2 h'), ('given up', '2 h'), ('pending', '2 h'), ('late', '2 h'),
            ('nobody', '2 h'), ('fresh', '5 min')) one (name, age);
    INSERT INTO webhook_delivery (id, tenant_id, endpoint_id, message_id, state, attempts, delivered_at)
        SELECT 'd ' || id, 'a', 'e', id, CASE id WHEN 'pending' THEN 'pending' WHEN 'given up' THEN 'given_up'
            ELSE 'delivered' END, 1, CASE id WHEN 'late' THEN now() ELSE created_at END
        FROM webhook_message WHERE id <> 'nobody';
    INSERT INTO webhook_attempt (delivery_id, number, tenant_id, duration_ms)
        SELECT id, 1, 'a', 1 FROM webhook_delivery;
    INSERT INTO upload (id, tenant_id, status, method, received_bytes, updated_at, expires_at)
        SELECT status || ' ' || age, 'a', status, 'url', 0, now() - age, now() + interval '1 d'
        FROM unnest(ARRAY['waiting', 'completed', 'errored', 'canceled', 'expired']) status,
            unnest(ARRAY[interval '2 h', interval '5 min']) age;
    INSERT INTO app_user (id, tenant_id, email, name, role, password_hash) VALUES ('u', 'a', 'e', 'n', 'admin', 'h');
    INSERT INTO session (id, tenant_id, user_id, expires_at, revoked_at)
        SELECT name, 'a', 'u', now() + left_, now() - revoked
        FROM (VALUES ('going', interval '1 d', NULL::interval), ('over', '-2 h', NULL), ('lately over', '-5 min', NULL),
            ('revoked', '1 d', '2 h'), ('lately revoked', '1 d', '5 min')) one (name, left_, revoked);
    INSERT INTO refresh_token (digest, tenant_id, session_id, expires_at)
        SELECT convert_to(id || n, 'UTF8'), 'a', id, now() + n * interval '2 h' FROM session, unnest(ARRAY[-1, 1]) n;
"""

#: Table, what names a row, and which are left.
LEFT = [
    (
        "checkpoint",
        "feature_key || clip",
        {"canceled1", "canceled2", "failed2", "lately1", "lately2", "running1", "running2"},
    ),
    ("idempotency_key", "key", {"key:fresh", "id:failed"}),
    ("webhook_message", "id", {"pending", "late", "fresh"}),
    ("webhook_delivery", "message_id", {"pending", "late", "fresh"}),
    ("webhook_attempt", "delivery_id", {"d pending", "d late", "d fresh"}),
    ("session", "id", {"going", "lately over", "lately revoked"}),
    ("refresh_token", "convert_from(digest, 'UTF8')", {"going1", "lately over1", "lately revoked1"}),
]


def _chores(world, folder) -> dict[str, Chore]:
    keep = CleaningOptions(**dict.fromkeys(CleaningOptions.__struct_fields__, HOUR_S))
    settings = msgspec.structs.replace(DEFAULTS, cleaning=keep)
    return {chore.name: chore for chore in cleaning.chores(world.database, store_at(folder), settings)}


async def _filled(world) -> None:
    for statement in ROWS.split(";\n"):
        if statement.strip():
            await world.change(statement)


async def _left(world, table: str, what: str) -> list[str]:
    return sorted(name for (name,) in await world.sql(f"SELECT {what} FROM {table}"))


def test_what_is_old_goes_and_the_rest_stays(run, tmp_path, monkeypatch):
    # So that there are several batches.
    monkeypatch.setattr(old_rows, "_AT_ONCE", 2)

    async def body(world):
        await _filled(world)
        todo = _chores(world, tmp_path)
        # As several workers would, at once.
        for name in ("checkpoints", "idempotency keys", "webhook messages", "sessions", "refresh tokens"):
            await asyncio.gather(*(todo[name].do() for _ in range(3)))
        for table, what, names in LEFT:
            assert await _left(world, table, what) == sorted(names), table
        assert await todo["uploads that are over"].do() == 4
        ages = await world.sql("SELECT status, now() - updated_at > interval '1 h' FROM upload ORDER BY 1")
        over = [(status, False) for status in ("canceled", "completed", "errored", "expired")]
        assert sorted(map(tuple, ages)) == sorted([*over, ("waiting", False), ("waiting", True)])
        for name in todo:
            assert await todo[name].do() == 0, name

    run(body)


def test_an_id_of_a_job_is_remembered_as_long_as_the_job(run, tmp_path):
    """Or the job's own would be taken for a new one, and be there twice."""

    async def body(world):
        request = [JobRequest(video_id="vid_a")]
        (first,) = await submission.submit(world.database, "a", request, job_id="mine")
        await world.change("UPDATE idempotency_key SET created_at = now() - interval '1 year'")
        await _chores(world, tmp_path)["idempotency keys"].do()
        (again,) = await submission.submit(world.database, "a", request, job_id="mine")
        assert (first.created, again.created, again.job.id) == (True, False, "mine")

    run(body)


def test_trouble_with_one_keeps_no_other_from_being_tidied_up(caplog):
    done: list[str] = []

    async def bad() -> int:
        done.append("bad")
        raise OSError("no space left on device")

    async def good() -> int:
        done.append("good")
        return 1

    async def body() -> None:
        task = asyncio.create_task(cleaning.run((Chore("bad", 0.01, bad), Chore("good", 0.01, good))))
        async with asyncio.timeout(10):
            while done.count("bad") < 3:
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(body())
    assert done.count("good") >= 2
    assert "bad could not be tidied up" in caplog.text


def test_one_that_takes_long_holds_no_other_up():
    done: list[str] = []

    async def slow() -> int:
        await asyncio.Event().wait()
        return 0

    async def quick() -> int:
        done.append("quick")
        return 0

    async def body() -> None:
        task = asyncio.create_task(cleaning.run((Chore("slow", 0.01, slow), Chore("quick", 0.01, quick))))
        async with asyncio.timeout(10):
            while len(done) < 3:
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(body())
