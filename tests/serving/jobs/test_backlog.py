"""What waits and what runs, counted in a real PostgreSQL."""

import pytest

from serving.db.database import SYSTEM
from serving.jobs.backlog import Backlog, read

_VIDEO = """
INSERT INTO video (id, tenant_id, title, size_bytes, sha256, object_key, labels, user_metadata, status, duration_s)
VALUES (:id, :tenant, 'x', 1, :id, 'x', '{}', '{}', 'uploaded', :duration_s)
"""

_JOB = """
INSERT INTO job (tenant_id, id, video_id, spec, feature_key, state, created_at, run_after, finished_at, lease_until,
    progress, metrics, priority, attempt, deaths, max_attempts, fence, cancel_requested, event_number)
VALUES (:tenant, :id, :video, '{}', :feature, :state, now() - make_interval(secs => :age_s),
    now() - make_interval(secs => :age_s - :delay_s), CASE WHEN :state = 'succeeded' THEN now() END,
    now() + interval '1 minute', '{}', '{}', 0, 0, 0, 5, 0, false, 0)
"""


async def _video(world, name, duration_s, tenant="a"):
    await world.change(_VIDEO, id=name, tenant=tenant, duration_s=duration_s)


async def _job(world, name, video, state="queued", *, tenant="a", feature=None, age_s=0.0, delay_s=0.0):
    values = {"id": name, "video": video, "state": state, "tenant": tenant, "feature": feature or name}
    await world.change(_JOB, **values, age_s=age_s, delay_s=delay_s)


async def _read(world, tenant=SYSTEM):
    async with world.database.read(tenant) as session:
        return await read(session)


def test_nothing_is_a_backlog_too(run):
    async def body(world):
        assert await _read(world) == Backlog()

    run(body)


def test_jobs_of_all_tenants_are_counted_with_what_is_known_of_their_videos(run):
    async def body(world):
        await _video(world, "short", 30.0)
        await _video(world, "long", 600.0)
        await _video(world, "b_short", 50.0, tenant="b")
        await _job(world, "1", "short", age_s=10)
        await _job(world, "2", "long", age_s=40)
        await _job(world, "3", "b_short", tenant="b")
        await _job(world, "4", "vid_a", age_s=100)  # of unknown length
        await _job(world, "5", "long", "running", age_s=500)
        await _job(world, "6", "vid_b", "running", tenant="b")
        await _job(world, "7", "short", age_s=1000, delay_s=2000)  # to be tried again later
        found = await _read(world)
        assert (found.queued, found.waiting, found.waiting_unknown, found.running) == (5, 4, 1, 2)
        assert (found.queued_video_s, found.waiting_video_s) == (710, 680)
        assert (found.running_video_s, found.running_unknown) == (600, 1)
        # The one whose turn comes later does not wait yet.
        assert found.oldest_s == found.queued_oldest_s == pytest.approx(100, abs=30)
        assert found.typical_video_s is None
        # A tenant sees its own.
        assert (await _read(world, "b")).queued == 1

    run(body)


def test_those_that_are_due_later_only_are_no_work_yet(run):
    async def body(world):
        await _job(world, "1", "vid_a", age_s=0, delay_s=100)
        found = await _read(world)
        assert (found.queued, found.queued_oldest_s, found.waiting, found.oldest_s) == (1, 0, 0, 0)

    run(body)


def test_what_is_computed_once_counts_once(run):
    async def body(world):
        await _video(world, "film", 100.0)
        for number in range(5):
            await _job(world, f"same-{number}", "film", feature="same", age_s=number)
        # Somebody is at work on these: the others find what comes of it.
        await _job(world, "first", "film", "running", feature="running")
        await _job(world, "second", "film", feature="running", age_s=1000)
        # Another tenant's, which are nobody else's business, whatever they are called.
        await _video(world, "b_film", 7.0, tenant="b")
        await _job(world, "other", "b_film", tenant="b", feature="running", age_s=20)
        found = await _read(world)
        assert (found.queued, found.queued_video_s) == (7, 607)
        assert (found.waiting, found.waiting_video_s) == (2, 107)
        assert found.oldest_s == pytest.approx(20, abs=15)

    run(body)


def test_the_typical_length_is_the_median_of_what_ended(run):
    async def body(world):
        for number, duration_s in enumerate((10.0, 20.0, 9000.0)):
            await _video(world, f"v{number}", duration_s)
            await _job(world, f"j{number}", f"v{number}", "succeeded")
        await _job(world, "unknown", "vid_a", "succeeded")
        assert (await _read(world)).typical_video_s == 20

    run(body)


def test_errands_that_are_due_are_counted(run):
    async def body(world):
        await world.change(
            "INSERT INTO webhook_endpoint (id, tenant_id, url, description, events, secret) "
            "VALUES ('e', 'a', 'https://example.com', '', '{}', 'whsec_x')"
        )
        await world.change(
            "INSERT INTO webhook_message (id, tenant_id, type, source, payload) VALUES ('m', 'a', 't', 's', '{}')"
        )
        for name, state, when in (
            ("due", "pending", "now()"),
            ("later", "pending", "now() + interval '1 hour'"),
            ("over", "delivered", "now()"),
        ):
            await world.change(
                "INSERT INTO webhook_delivery (id, tenant_id, endpoint_id, message_id, state, attempts, next_at) "
                f"VALUES (:id, 'a', 'e', 'm', :state, 0, {when})",
                id=name,
                state=state,
            )
        for name, method, when in (
            ("fetched", "url", "now()"),
            ("taken", "url", "now() + interval '1 minute'"),
            ("sent", "tus", "now()"),
        ):
            await world.change(
                "INSERT INTO upload (id, tenant_id, status, method, received_bytes, next_at, expires_at) "
                f"VALUES (:id, 'a', 'waiting', :method, 0, {when}, now() + interval '1 day')",
                id=name,
                method=method,
            )
        found = await _read(world)
        assert (found.errands, found.waiting) == (2, 0)

    run(body)
