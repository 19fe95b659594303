"""A deployment of a real Ray Serve follows the rows of a real PostgreSQL: without models and videos, but in number."""

import asyncio
import time
from collections.abc import Callable

import pytest
import ray
from ray import serve

from serving.settings import variable

pytestmark = pytest.mark.drill

#: For a replica to start or stop on a busy machine, seconds.
PATIENCE_S = 60.0

_FIVE = """
INSERT INTO job (tenant_id, id, video_id, spec, feature_key, state, progress, metrics, priority, attempt, deaths,
    max_attempts, fence, cancel_requested, event_number)
SELECT 'a', 'job-' || n, 'vid_a', '{}', 'job-' || n, 'queued', '{}', '{}', 0, 0, 0, 5, 0, false, 0
FROM generate_series(0, 4) n
"""


@pytest.fixture(scope="module")
def environment():
    """Of the processes of Ray: those that it starts have what this one has when it starts it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield patch
        serve.shutdown()
        ray.shutdown()


@serve.deployment(name="worker", ray_actor_options={"num_cpus": 0.01})
class Idle:
    """What is scaled."""


def deploy(**policy_kwargs) -> None:
    scaling = {
        "min_replicas": 1,
        "max_replicas": 3,
        "upscale_delay_s": 1,
        "downscale_delay_s": 1,
        "policy": {"policy_function": "serving.graph.policy:BacklogPolicy", "policy_kwargs": policy_kwargs},
    }
    serve.run(Idle.options(autoscaling_config=scaling, graceful_shutdown_timeout_s=1).bind(), name="scaled")


def replicas() -> int:
    """Those that run."""
    return serve.status().applications["scaled"].deployments["worker"].replica_states.get("RUNNING", 0)


def until(done: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, f"waited {PATIENCE_S} s for {what}; there are {replicas()} replicas"
        time.sleep(0.2)


def test_replicas_come_and_go_with_the_rows(run, url, environment):
    environment.setenv(variable("server.database_url"), url)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(proxy_location="Disabled")
    deploy(policies=["each"], slots=1, poll_s=0.2, stale_s=60)
    assert replicas() == 1

    async def body(world):
        def wait(count: int, why: str):
            return asyncio.to_thread(until, lambda: replicas() == count, f"{count} replicas: {why}")

        await world.change(_FIVE)
        await wait(3, "five jobs wait, and max_replicas is 3")
        await world.change("DELETE FROM job WHERE id > 'job-1'")
        await world.change("UPDATE job SET state = 'running', lease_until = now() + interval '1 hour'")
        await wait(2, "two jobs run")
        await world.change("DELETE FROM job")
        await wait(1, "nothing is left, and min_replicas is 1")
        # Rules that cannot be read hold the number, and neither the controller nor the deployment is worse for it.
        deploy(slots="many")
        await world.change(_FIVE)
        await asyncio.sleep(3)
        assert replicas() == 1
        assert serve.status().applications["scaled"].status == "RUNNING"

    run(body)
