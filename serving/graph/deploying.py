"""Hands a Serve YAML to Serve in a process that is connected to Ray, and asks how it is going.

Serve's public functions take no YAML. What is called here is what `serve run config.yaml` itself does
(`ray/serve/scripts.py`), and what the dashboard does on `serve deploy`; a dashboard is so not needed.
"""

import copy
from collections.abc import Mapping
from typing import Any, Final

from serving.graph.args import APPLICATION
from serving.graph.standing import DeploymentStanding, Standing

#: Of Serve's own log, where the YAML says nothing: a request is worth a line to nobody.
_LOGGING: Final = {"log_level": "WARNING", "enable_access_log": False}


def deploy(wanted: Mapping[str, Any]) -> None:
    """Have Serve bring about what a YAML says; returns before it is so. Serve is started where it does not run.

    Args:
        wanted: as `deploy_file.load` gives it, and `checking.check` found it good.
    """
    from ray.serve._private.api import serve_start
    from ray.serve.config import gRPCOptions
    from ray.serve.schema import ServeDeploySchema

    # It changes what it is given.
    config = ServeDeploySchema.model_validate({"logging_config": _LOGGING} | copy.deepcopy(dict(wanted)))
    client = serve_start(
        http_options=config.http_options.model_dump(),
        proxy_location=config.proxy_location,
        grpc_options=gRPCOptions(**config.grpc_options.model_dump()),
        controller_options=config.controller_options,
        global_logging_config=config.logging_config,
    )
    client.deploy_apps(config)


def standing() -> Standing | None:
    """How the graph is; None where Serve does not know it.

    Raises:
        RayError: Serve's controller gives no answer.
    """
    from ray import serve

    found = serve.status().applications.get(APPLICATION)
    if found is None:
        return None
    return Standing(
        status=found.status.value,
        message=found.message,
        deployments=tuple(
            DeploymentStanding(
                name=name,
                status=deployment.status.value,
                running=sum(count for state, count in deployment.replica_states.items() if state == "RUNNING"),
                message=deployment.message,
            )
            for name, deployment in found.deployments.items()
        ),
    )
