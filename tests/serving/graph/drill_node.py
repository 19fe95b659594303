"""A second node of a Ray cluster on this machine: `python -m tests.serving.graph.drill_node ADDRESS TEMPORARY`.

As `ray.cluster_utils` adds one, but as a process of its own, with a folder and an environment of its own. Ends with
whoever started it. `nodes` has both, with an engine whose replicas are on either.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil

from tests.serving.commands import ROOT

#: The resource that this node alone has.
ELSEWHERE: Final = "elsewhere"

#: How long replicas may take to be there, seconds.
_PATIENCE_S: Final = 240.0


def main() -> None:
    """Start it, say so, and wait to be killed."""
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    address, temporary = sys.argv[1:]
    node = Node(
        RayParams(
            gcs_address=address,
            redis_address=address,
            temp_dir=temporary,
            node_ip_address="127.0.0.1",
            num_cpus=1,
            num_gpus=0,
            resources={ELSEWHERE: 1},
            object_store_memory=100 << 20,
            node_manager_port=0,
            min_worker_port=0,
            max_worker_port=0,
            dashboard_agent_listen_port=0,
        ),
        head=False,
        shutdown_at_exit=True,
        spawn_reaper=True,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(node.node_id, flush=True)
    # Whoever started it closes this, or ends.
    sys.stdin.read()


@contextlib.contextmanager
def nodes(temporary: Path, folder: Path) -> "Iterator[tuple[Any, subprocess.Popen[str]]]":
    """Handle of the engine, which has a replica on each, and the second node."""
    import ray
    from ray import serve

    ray.init(
        "local",
        num_cpus=1,
        include_dashboard=False,
        object_store_memory=100 << 20,
        namespace="serve",
        log_to_driver=False,
        _temp_dir=str(temporary),
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT), "RAY_SERVE_LOG_TO_STDERR": "0"}},
    )
    try:
        empty = folder / "empty"
        empty.mkdir()
        command = [sys.executable, "-m", "tests.serving.graph.drill_node"]
        command += [ray.get_runtime_context().gcs_address, str(temporary)]
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG") or name[:4] == "RAY_"}
        with subprocess.Popen(
            command,
            cwd=empty,
            env=kept | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as second:
            try:
                assert second.stdout is not None
                assert second.stdout.readline(), "the second node did not start"
                yield _deployed(), second
            finally:
                serve.shutdown()
                left = [] if second.poll() is not None else psutil.Process(second.pid).children(recursive=True)
                second.kill()
                for process in left:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
    finally:
        ray.shutdown()


def _deployed() -> Any:
    """Have an engine with a replica on each node, and text towers; the engine's handle."""
    from serving.graph.args import APPLICATION
    from serving.graph.deploying import deploy, standing
    from tests.serving.graph.clusters import handle

    small = {"ray_actor_options": {"num_cpus": 0.1}}
    models = {"models": {"bundled": {}}}
    engine = {"name": "engine-default", "num_replicas": 2, "max_replicas_per_node": 1, "user_config": models, **small}
    engine |= {"max_ongoing_requests": 8, "health_check_period_s": 2, "health_check_timeout_s": 90}
    others = [{"name": name, "num_replicas": 1, **small} for name in ("echo", "front")]
    deploy(
        {
            "proxy_location": "Disabled",
            "applications": [
                {
                    "name": APPLICATION,
                    "route_prefix": None,
                    "import_path": "tests.serving.graph.engines_app:build",
                    "deployments": [engine, {"name": "text", "user_config": models, **small}, *others],
                }
            ],
        }
    )
    until = time.monotonic() + _PATIENCE_S
    while (found := standing()) is None or found.status != "RUNNING":
        assert time.monotonic() < until, f"the engines did not come: {found}"
        time.sleep(0.2)
    return handle("engine-default")


if __name__ == "__main__":
    main()
