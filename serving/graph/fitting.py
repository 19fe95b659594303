"""Does a Serve YAML fit a machine? Serve itself waits for ever for what is not there; this says so before, in words.

Serve asks Ray for the resources of each replica: one CPU where the YAML says nothing else. Its controller, its proxies
and the task that builds the application ask for none. A replica is in one place: it finds all it wants on one node, and
a fraction of a GPU on one GPU.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from serving.graph.args import IMPORT_PATH, InvalidGraph, deployments, graph_args
from serving.graph.machines import GIB, Machine
from serving.graph.packing import Piece, pack

CPUS_OF_A_REPLICA: Final = 1.0
"""What Serve asks for where nothing is said (`ReplicaConfig._validate_ray_actor_options`)."""

AUTO_MAX: Final = 100
"""Most replicas with `num_replicas: auto` where nothing else is said (`AutoscalingConfig.default`)."""

#: Options that decide where replicas go and that are not modelled here. Nothing of ours uses them.
_NOT_MODELLED: Final = ("placement_group_bundles", "gang_scheduling_config", "deployment_actors")
_NOT_LOOKED_AT: Final = ("accelerator_type", "label_selector", "fallback_strategy")


class DoesNotFit(InvalidGraph):
    """The fewest replicas that a Serve YAML asks for do not fit the machine; the message has the arithmetic."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What one deployment asks for."""

    deployment: str
    least: int
    """Replicas that Serve starts with: what has to fit."""
    most: int
    """Replicas that autoscaling may ask for."""
    wants: Mapping[str, float]
    """Of each replica: `CPU`, `GPU`, `memory` (GiB), and resources of the operator's own; none of them 0."""
    per_node: int | None
    """Most replicas on one node; None: any number."""
    not_looked_at: tuple[str, ...]
    """Wishes that may keep it from nodes that it is believed to fit."""


def require_fits(deploy: Mapping[str, Any], machine: Machine) -> tuple[str, ...]:
    """See that the fewest replicas which a Serve YAML asks for can be scheduled.

    Args:
        deploy: the YAML as `yaml.safe_load` reads it; what is wrong in other ways is for `checking.check` to find.
        machine: `machines.CLASSES[...]`, `machines.machine("cpus=2")`, or `machines.machine_of_ray(ray.nodes())`.

    Returns:
        Warnings, one line each: replicas that autoscaling may ask for and that would wait.

    Raises:
        DoesNotFit: with the arithmetic.
        InvalidGraph: what replicas ask for cannot be made out.
    """
    wanted = demands(deploy)
    trouble = misfit(wanted, machine, lambda demand: demand.least)
    if trouble is not None:
        raise DoesNotFit(trouble)
    warnings = [
        f"{demand.deployment}: {', '.join(demand.not_looked_at)} may keep it from nodes that it is believed to fit"
        for demand in wanted
        if demand.not_looked_at
    ]
    if (trouble := misfit(wanted, machine, lambda demand: demand.most)) is not None:
        warnings.append(
            f"with all replicas that autoscaling may ask for: {trouble}; those that are too many would wait"
        )
    return tuple(warnings)


def arithmetic(deploy: Mapping[str, Any], machine: Machine) -> str:
    """What the fewest replicas ask for, and what there is: `engine-default 1 x 0.5 + ... = 0.8 CPUs of 2`."""
    wanted = [demand for demand in demands(deploy) if demand.least]
    sums = []
    for resource in _resources(wanted):
        said, total = _sum(wanted, resource, lambda demand: demand.least)
        sums.append(f"{said} = {_amount(total, resource)} of {machine.has(resource):.4g}")
    return "; ".join(sums)


def demands(deploy: Mapping[str, Any]) -> tuple[Demand, ...]:
    """What each deployment of each application asks for; those of ours that the YAML leaves out have Serve's defaults.

    Raises:
        InvalidGraph: that cannot be made out.
    """
    return tuple(
        _demand(name, options)
        for application in deploy.get("applications") or ()
        for name, options in _deployments(application)
    )


def misfit(wanted: Sequence[Demand], machine: Machine, replicas: Callable[[Demand], int]) -> str | None:
    """Why so many replicas of each do not fit; None where they do."""
    wanted = [demand for demand in wanted if replicas(demand)]
    for resource in _resources(wanted):
        said, total = _sum(wanted, resource, replicas)
        if total > machine.has(resource) + 1e-6:
            return f"{said} = {_amount(total, resource)}; {machine.name} has {machine.has(resource):.4g}"
    pieces = [
        Piece(demand.deployment, demand.wants, demand.per_node) for demand in wanted for _ in range(replicas(demand))
    ]
    left = pack(pieces, machine.nodes)
    if left is None:
        return None
    together = ", ".join(f"{demand.deployment} {replicas(demand)} x ({_wish(demand.wants)})" for demand in wanted)
    return (
        f"in sum it is enough, but not in the pieces that {machine.name} has: {together}. "
        f"No way of placing them was found that does not leave over {left.name} ({_wish(left.wants)}): {_why(left)}"
    )


def _resources(wanted: Iterable[Demand]) -> list[str]:
    return list(dict.fromkeys(name for demand in wanted for name in demand.wants))


def _sum(wanted: Iterable[Demand], resource: str, replicas: Callable[[Demand], int]) -> tuple[str, float]:
    """How much of a resource all replicas want, and how that comes about."""
    asking = [demand for demand in wanted if resource in demand.wants]
    said = " + ".join(f"{demand.deployment} {replicas(demand)} x {demand.wants[resource]:g}" for demand in asking)
    return said, sum(replicas(demand) * demand.wants[resource] for demand in asking)


def _why(left: Piece) -> str:
    gpus = left.wants.get("GPU", 0.0)
    if 0 < gpus < 1:
        return f"a fraction is of one GPU, and each has room for {int(1 / gpus + 1e-9)} x {gpus:g}"
    if left.per_node is not None:
        return f"there are at most {left.per_node} on a node (max_replicas_per_node)"
    return "a replica finds all that it wants on one node"


def _deployments(application: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    listed = {options["name"]: options for options in application.get("deployments") or ()}
    ours = deployments(graph_args(application.get("args"))) if application.get("import_path") == IMPORT_PATH else ()
    for name in dict.fromkeys((*listed, *ours)):
        yield name, listed.get(name, {})


def _demand(name: str, options: Mapping[str, Any]) -> Demand:
    for option in _NOT_MODELLED:
        if options.get(option) is not None:
            raise InvalidGraph(f"{name}.{option}: where such replicas fit is not worked out here; leave it out")
    least, most = _replicas(options)
    asked = options.get("ray_actor_options") or {}
    cpus, gpus = asked.get("num_cpus"), asked.get("num_gpus") or 0.0
    if gpus > 1 and gpus % 1:
        raise InvalidGraph(
            f"{name}.ray_actor_options.num_gpus: Ray gives away whole GPUs or a part of one, not {gpus:g}"
        )
    wants = {
        "CPU": CPUS_OF_A_REPLICA if cpus is None else cpus,
        "GPU": gpus,
        "memory": (asked.get("memory") or 0) / GIB,
        **(asked.get("resources") or {}),
    }
    return Demand(
        deployment=name,
        least=least,
        most=most,
        wants={resource: float(amount) for resource, amount in wants.items() if amount},
        per_node=options.get("max_replicas_per_node"),
        not_looked_at=tuple(option for option in _NOT_LOOKED_AT if asked.get(option)),
    )


def _replicas(options: Mapping[str, Any]) -> tuple[int, int]:
    """How many Serve starts with, and how many there may be."""
    count, scaling = options.get("num_replicas"), options.get("autoscaling_config")
    if count != "auto" and scaling is None:
        fixed = 1 if count is None else count
        return fixed, fixed
    scaling = scaling or {}
    least = scaling.get("min_replicas", 1)
    start = scaling.get("initial_replicas")
    return least if start is None else start, scaling.get("max_replicas", AUTO_MAX if count == "auto" else 1)


def _amount(value: float, resource: str) -> str:
    if resource == "memory":
        return f"{value:.4g} GiB of memory"
    return f"{value:g} {resource}{'s' if resource in ('CPU', 'GPU') and value != 1 else ''}"


def _wish(wants: Mapping[str, float]) -> str:
    return ", ".join(_amount(value, resource) for resource, value in wants.items())
