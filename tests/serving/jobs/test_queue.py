"""The queue: every job is somebody's, exactly one's, and nobody else can write about it."""

import asyncio

import pytest

from pipeline.spec import AnalysisSpec, SegmentSpec
from serving.errors import Conflict, KeyReused, LeaseLost, NotFound
from serving.jobs import outcomes, submission
from serving.jobs.lease import MAX_DEATHS, Problem
from serving.jobs.submission import JobRequest
from tests.serving.jobs.conftest import specs


async def _submit(world, tenant="a", **how):
    made = await submission.submit(world.database, tenant, [JobRequest(video_id=f"vid_{tenant}", **how)])
    return made[0].job


async def _events(world, job_id):
    rows = await world.sql("SELECT number, kind FROM event WHERE job_id = :job ORDER BY number", job=job_id)
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    return [row.kind for row in rows]


def test_a_job_is_claimed_by_one(run):
    async def body(world):
        jobs = {(await _submit(world, spec=spec)).id for spec in specs(12)}
        leases = await asyncio.gather(*(world.queue.claim(f"w{n}") for n in range(20)))
        claimed = [lease.job_id for lease in leases if lease]
        assert set(claimed) <= jobs
        assert len(set(claimed)) == len(claimed)
        while (lease := await world.queue.claim("late")) is not None:
            claimed.append(lease.job_id)
        assert sorted(claimed) == sorted(jobs)

    run(body)


def test_priority_then_age(run):
    async def body(world):
        low, first, second, high = [
            (await _submit(world, spec=spec, priority=priority)).id
            for spec, priority in zip(specs(4), (-1, 0, 0, 5), strict=True)
        ]
        order = [(await world.queue.claim("w")).job_id for _ in range(4)]
        assert order == [high, first, second, low]

    run(body)


def test_a_tenant_with_many_jobs_does_not_keep_another_waiting(run):
    async def body(world):
        for spec in specs(5):
            await _submit(world, "a", spec=spec, priority=10)
        other = await _submit(world, "b")
        first = [(await world.queue.claim("w")).job_id for _ in range(2)]
        assert other.id in first

    run(body)


def test_jobs_with_the_same_features_run_one_after_the_other(run):
    async def body(world):
        await _submit(world)
        await _submit(world, spec=AnalysisSpec(segments=SegmentSpec(max_segments=2)))
        lease = await world.queue.claim("w")
        assert await world.queue.claim("w") is None
        await outcomes.fail(world.database, lease, Problem(code="corrupt", detail="x"))
        assert await world.queue.claim("w") is not None

    run(body)


@pytest.mark.parametrize("write", ["renew", "progress", "checkpoint", "release", "fail", "canceled"])
def test_who_lost_the_lease_writes_nothing(run, write):
    async def body(world):
        await _submit(world)
        zombie = await world.queue.claim("zombie")
        await world.change("UPDATE job SET lease_until = now() - interval '1 s'")
        assert await world.queue.reap() == 1
        late = {
            "renew": lambda: world.queue.renew(zombie),
            "progress": lambda: world.queue.progress(zombie, {"done": 1}),
            "checkpoint": lambda: world.queue.checkpoint(zombie, [("clip", b"output")]),
            "release": lambda: world.queue.release(zombie),
            "fail": lambda: outcomes.fail(world.database, zombie, Problem(code="corrupt", detail="x")),
            "canceled": lambda: outcomes.canceled(world.database, zombie),
        }[write]
        before = await world.sql("SELECT job::text FROM job"), await world.sql("SELECT event::text FROM event")
        # Both before anybody has it again, and after.
        with pytest.raises(LeaseLost):
            await late()
        assert before == (
            await world.sql("SELECT job::text FROM job"),
            await world.sql("SELECT event::text FROM event"),
        )
        assert await world.queue.claim("successor") is not None
        with pytest.raises(LeaseLost):
            await late()
        assert await world.sql("SELECT * FROM checkpoint") == []

    run(body)


def test_a_job_that_kills_its_workers_is_quarantined(run):
    async def body(world):
        job = await _submit(world)
        for death in range(1, MAX_DEATHS + 1):
            assert (await world.queue.claim("w")).attempt == death
            await world.change("UPDATE job SET lease_until = now() - interval '1 s'")
            await world.queue.reap()
        (row,) = await world.sql("SELECT state, deaths, error FROM job")
        assert (row.state, row.deaths, row.error["code"]) == ("failed", MAX_DEATHS, "quarantined")
        assert (await _events(world, job.id))[-1] == "failed"
        assert await world.queue.claim("w") is None
        await submission.retry(world.database, "a", job.id)
        assert (await world.queue.claim("w")).attempt == 1

    run(body)


def test_what_may_work_later_is_tried_again_and_what_may_not_is_not(run):
    async def body(world):
        job = await _submit(world)
        for attempt in range(1, 6):
            lease = await world.queue.claim("w")
            assert lease.attempt == attempt
            again = await outcomes.fail(
                world.database, lease, Problem(code="decode_timeout", detail="x", retryable=True)
            )
            assert again == (attempt < 5)
            assert await world.queue.claim("w") is None, "it has to wait"
            await world.change("UPDATE job SET run_after = now()")
        (row,) = await world.sql("SELECT state, error FROM job")
        assert (row.state, row.error["code"]) == ("failed", "decode_timeout")
        events = await _events(world, job.id)
        assert events == ["queued", *(["running", "queued"] * 4), "running", "failed"]

    run(body)


def test_canceling(run):
    async def body(world):
        waiting, running = [await _submit(world, spec=spec, priority=-n) for n, spec in enumerate(specs(2))][::-1]
        lease = await world.queue.claim("w")
        assert lease.job_id == running.id
        assert (await submission.cancel(world.database, "a", waiting.id)).state == "canceled"
        assert (await submission.cancel(world.database, "a", running.id)).state == "running"
        assert await world.queue.renew(lease) is True
        await outcomes.canceled(world.database, lease)
        assert [row.state for row in await world.sql("SELECT state FROM job")] == ["canceled"] * 2
        assert await _events(world, running.id) == ["queued", "running", "canceled"]
        # Once more changes nothing.
        assert (await submission.cancel(world.database, "a", running.id)).state == "canceled"
        with pytest.raises(NotFound):
            await submission.cancel(world.database, "a", "nobody")

    run(body)


def test_a_released_job_is_not_charged_for_it(run):
    async def body(world):
        await _submit(world)
        lease = await world.queue.claim("w")
        await world.queue.release(lease)
        again = await world.queue.claim("v")
        assert (again.attempt, again.fence > lease.fence) == (1, True)

    run(body)


def test_a_hundred_posts_with_one_key_make_one_job(run):
    async def body(world):
        request = JobRequest(video_id="vid_a")
        made = await asyncio.gather(
            *(submission.submit(world.database, "a", [request], key="same") for _ in range(100))
        )
        assert len({one[0].job.id for one in made}) == 1
        assert sum(one[0].created for one in made) == 1
        assert len(await world.sql("SELECT id FROM job")) == 1
        with pytest.raises(KeyReused):
            await submission.submit(world.database, "a", [JobRequest(video_id="vid_a", priority=1)], key="same")
        # Another tenant's key is another key.
        other = await submission.submit(world.database, "b", [JobRequest(video_id="vid_b")], key="same")
        assert other[0].created

    run(body)


def test_an_own_id_finds_the_job_that_has_it(run):
    async def body(world):
        request = JobRequest(video_id="vid_a")
        first = await submission.submit(world.database, "a", [request], job_id="mine")
        again = await submission.submit(world.database, "a", [request], job_id="mine")
        assert (first[0].job.id, first[0].created, again[0].created) == ("mine", True, False)
        theirs = await submission.submit(world.database, "b", [JobRequest(video_id="vid_b")], job_id="mine")
        assert theirs[0].created

    run(body)


def test_only_what_is_over_can_be_tried_again(run):
    async def body(world):
        job = await _submit(world)
        with pytest.raises(Conflict):
            await submission.retry(world.database, "a", job.id)

    run(body)


def test_a_tenant_neither_sees_nor_uses_what_is_anothers(run):
    async def body(world):
        job = await _submit(world, "b")
        for attempt in (submission.cancel, submission.retry):
            with pytest.raises(NotFound):
                await attempt(world.database, "a", job.id)
        with pytest.raises(NotFound):
            await submission.submit(world.database, "a", [JobRequest(video_id="vid_b")])

    run(body)
