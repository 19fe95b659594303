"""A Ray cluster of this machine, and engines in it."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

#: How long replicas may take to be there, seconds, on a machine that has other things to do.
PATIENCE_S = 240

_ROOT = Path(__file__).resolve().parents[3]

#: Little enough for any machine.
_REPLICA = {"ray_actor_options": {"num_cpus": 0.1}, "health_check_period_s": 2, "health_check_timeout_s": 90}


@contextmanager
def cluster() -> Iterator[None]:
    """While the block lasts, this process is connected to a cluster of its own."""
    import ray

    # Short, for sockets lie deep in it.
    folder = tempfile.mkdtemp(prefix="ray-")
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100 << 20,
        log_to_driver=False,
        _temp_dir=folder,
        runtime_env={"env_vars": {"PYTHONPATH": str(_ROOT), "RAY_SERVE_LOG_TO_STDERR": "0"}},
    )
    try:
        yield
    finally:
        from ray import serve

        serve.shutdown()
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


#: Of an engine that goes as soon as it can: what takes ten minutes elsewhere.
_TO_ZERO = {
    "min_replicas": 0,
    "max_replicas": 1,
    "downscale_to_zero_delay_s": 3,
    "look_back_period_s": 1,
    "metrics_interval_s": 0.5,
}


def deployed(engine: dict[str, Any], text: dict[str, Any], *, replicas: int = 1) -> None:
    """Have engines with these `user_config`s; waits until as many replicas of `engine-default` are there. Another one,
    `engine-rare`, has none until it is asked."""
    from serving.graph.args import APPLICATION
    from serving.graph.deploying import deploy, standing

    deploy(
        {
            "proxy_location": "Disabled",
            "applications": [
                {
                    "name": APPLICATION,
                    "route_prefix": None,
                    "import_path": "tests.serving.graph.engines_app:build",
                    "args": {"engines": ["rare"]},
                    "deployments": [
                        {
                            "name": "engine-default",
                            "num_replicas": replicas,
                            "max_ongoing_requests": 8,
                            "user_config": engine,
                            **_REPLICA,
                        },
                        {"name": "engine-rare", "autoscaling_config": _TO_ZERO, "user_config": engine, **_REPLICA},
                        {"name": "text", "user_config": text, **_REPLICA},
                        # One request at a time each: who wants a certain one has to wait for it.
                        {
                            "name": "echo",
                            "num_replicas": 3,
                            "max_ongoing_requests": 1,
                            "ray_actor_options": {"num_cpus": 0.1},
                        },
                        {"name": "front", "ray_actor_options": {"num_cpus": 0.1}},
                    ],
                }
            ],
        }
    )
    until_s = time.monotonic() + PATIENCE_S
    while (found := standing()) is None or found.status != "RUNNING":
        assert time.monotonic() < until_s, f"the engines did not come: {found}"
        assert found is None or found.status != "DEPLOY_FAILED", found.message
        time.sleep(0.2)


def handle(deployment: str):
    """Of a deployment that is there."""
    from ray import serve

    from serving.graph.args import APPLICATION

    return serve.get_deployment_handle(deployment, APPLICATION)


def descendants(pid: int) -> list[psutil.Process]:
    """All processes that come from it."""
    return psutil.Process(pid).children(recursive=True)


def gone(processes: list[psutil.Process], within_s: float = 30.0) -> bool:
    """Whether they all end, without anybody's doing."""
    until_s = time.monotonic() + within_s
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes):
        if time.monotonic() > until_s:
            return False
        time.sleep(0.05)
    return True


def killed(pid: int) -> None:
    """`kill -9`."""
    os.kill(pid, 9)
