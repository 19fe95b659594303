"""Is a Serve YAML one that the graph can be deployed from, on a machine? Finds what Serve would find late or never.

Serve ignores options that it does not know, takes whatever `user_config` says, and waits for ever for resources that
are not there.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from serving.graph.args import GATEWAY, TEXT, WORKER, InvalidGraph, engine_deployment
from serving.graph.fitting import Demand, demands, require_fits
from serving.graph.machines import Machine
from serving.graph.scaling import scaling_rules
from serving.graph.schema import BACKLOG_POLICY, require_accepted
from serving.graph.wiring import Wiring, wiring

_LOOPBACK = ("127.0.0.1", "localhost", "::1")

#: Serve's own, which `tests/serving/graph/test_fitting.py` compares with what is installed.
MAX_ONGOING, TARGET_ONGOING, HEALTH_TIMEOUT_S = 5, 2.0, 30.0

#: As `serving.graph.replica.CHECK_S`, which is not imported for it: it brings all of the pipeline.
CHECK_S = 60.0


def check(deploy: Mapping[str, Any], machine: Machine) -> tuple[str, ...]:
    """See that a Serve YAML can be deployed.

    Args:
        deploy: as `deploy_file.load` gives it.

    Returns:
        Warnings, one line each: what works, but perhaps not as it was meant.

    Raises:
        InvalidGraph: the first thing that is wrong, and where it is.
    """
    require_accepted(deploy)
    found = wiring(deploy)
    wanted = demands(deploy)
    for name, options in found.options.items():
        _require_numbers(name, options)
    for engine in found.engines:
        _require_of_engine(engine_deployment(engine), found.options)
    fitting = require_fits(deploy, machine)
    return (*_exposed(deploy), *_doubts(found, wanted), *fitting)


def _require_numbers(name: str, options: Mapping[str, Any]) -> None:
    """Numbers of which each is possible, but not together."""
    scaling = options.get("autoscaling_config")
    if options.get("num_replicas") != "auto" and scaling is None:
        return
    scaling = scaling or {}
    if scaling.get("policy"):
        return
    target = scaling.get("target_ongoing_requests", TARGET_ONGOING)
    most = options.get("max_ongoing_requests", MAX_ONGOING)
    if target > most:
        raise InvalidGraph(
            f"{name}: target_ongoing_requests ({target:g}) has to be at most max_ongoing_requests ({most}): replicas "
            "that are never as busy as that are never joined by others"
        )


def _require_of_engine(name: str, options: Mapping[str, Mapping[str, Any]]) -> None:
    """What holds for engines only."""
    if options[name].get("request_router_config") is not None:
        raise InvalidGraph(f"{name}.request_router_config: is set by the graph: parts of a Clip's chain stay together")


def _exposed(deploy: Mapping[str, Any]) -> Iterator[str]:
    if deploy.get("proxy_location") == "Disabled":
        raise InvalidGraph("proxy_location: Disabled leaves the API without a way to the graph; HeadOnly is enough")
    host = (deploy.get("http_options") or {}).get("host")
    if host is None:
        raise InvalidGraph(
            "http_options.host: has to be said, for Serve would listen on all addresses; 127.0.0.1 is safe"
        )
    if host not in _LOOPBACK:
        yield f"http_options.host: {host} can be reached from elsewhere: let nobody through but the API"


def _doubts(found: Wiring, wanted: tuple[Demand, ...]) -> Iterator[str]:
    least = {demand.deployment: demand.least for demand in wanted}
    for name in (GATEWAY, TEXT):
        if not least[name]:
            yield f"{name}: without a replica, whoever searches waits until one has started"
    if not least[WORKER]:
        yield f"{WORKER}: without a replica nothing is tidied up, and the server says that it is not ready"
    for name in (TEXT, *(engine_deployment(engine) for engine in found.engines)):
        timeout_s = found.options[name].get("health_check_timeout_s", HEALTH_TIMEOUT_S)
        if timeout_s <= CHECK_S:
            yield (
                f"{name}: a replica that has to do for {CHECK_S:g} s would be taken for a dead one "
                f"after {timeout_s:g} s (health_check_timeout_s)"
            )
    for engine, config in found.engines.items():
        name = engine_deployment(engine)
        most = found.options[name].get("max_ongoing_requests", MAX_ONGOING)
        if config.clips_in_flight is not None and config.clips_in_flight > most:
            yield (
                f"{name}: works on {most} Clips at once (max_ongoing_requests), "
                f"never on {config.clips_in_flight} (clips_in_flight)"
            )
    policy = (found.options[WORKER].get("autoscaling_config") or {}).get("policy") or {}
    if policy.get("policy_function") == BACKLOG_POLICY:
        slots = scaling_rules(policy.get("policy_kwargs")).slots
        if slots != found.worker.slots:
            yield (
                f"{WORKER}: runs {found.worker.slots} jobs at once (user_config.slots), "
                f"but is scaled as if it were {slots} (policy_kwargs.slots)"
            )
