"""`automations graph deploy`: joins the cluster of this machine for a moment and hands it another Serve YAML."""

import logging
import os
from pathlib import Path

from serving.errors import NotRunning
from serving.graph import deploy_file
from serving.graph.cluster import Cluster


def redeploy(config: Path, where: Cluster) -> None:
    """Have the graph become what a YAML says; returns before it is so: `automations models status` tells how it goes.

    Raises:
        NotRunning: there is no cluster of this machine, or it does not answer.
        InvalidGraph: the YAML cannot be deployed there.
    """
    if not where.address.exists():
        raise NotRunning("no graph of this data folder runs on this machine; start one: automations serve")
    wanted = deploy_file.load(config)
    # Read by Ray when it is imported.
    environment = where.environment(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    import ray

    from serving.graph.checking import check
    from serving.graph.deploying import deploy
    from serving.graph.machines import machine_of_ray

    try:
        ray.init(where.address.read_text(), namespace="serve", log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, TimeoutError) as error:
        raise NotRunning(f"the graph does not answer: {error}") from error
    try:
        for warning in check(wanted, machine_of_ray(ray.nodes())):
            print(f"warning: {warning}")
        deploy(wanted)
    finally:
        ray.shutdown()
