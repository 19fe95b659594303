"""Kinds of machines that a Serve YAML may be for: so many nodes, and what Ray has to give away on each."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from serving.graph.args import InvalidGraph

GIB: Final = 1 << 30

RAYS_SHARE: Final = 0.7
"""Of a node's memory: what Ray offers to replicas. It keeps the rest for objects (`_resolve_memory_resources`)."""


@dataclass(frozen=True, slots=True)
class Node:
    """What Ray has to give away on one machine. None of it is a limit: Ray only counts."""

    cpus: float
    gpus: int = 0
    memory_gib: float | None = None
    """What replicas may ask for together by `memory`, GiB; None: not known, and not looked at."""
    others: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Resources of the operator's own."""

    def has(self, resource: str) -> float:
        """How much there is of `CPU`, `GPU`, `memory` (GiB) or a resource of the operator's own."""
        if resource == "memory":
            return float("inf") if self.memory_gib is None else self.memory_gib
        return {"CPU": self.cpus, "GPU": float(self.gpus)}.get(resource, self.others.get(resource, 0.0))


@dataclass(frozen=True, slots=True)
class Machine:
    """All nodes together."""

    name: str
    """What it is called in messages: `the machine`, `cluster`."""
    nodes: tuple[Node, ...]

    def has(self, resource: str) -> float:
        """As `Node.has`, over all nodes."""
        return sum(node.has(resource) for node in self.nodes)


def _nodes(*parts: tuple[int, Node]) -> tuple[Node, ...]:
    return tuple(node for count, node in parts for _ in range(count))


def _physical(cpus: float, gpus: int, memory_gib: float) -> Node:
    return Node(cpus, gpus, memory_gib * RAYS_SHARE)


CLASSES: Final[dict[str, Machine]] = {
    "cpu": Machine("a cpu machine", (_physical(2, 0, 8),)),
    "single-gpu": Machine("a single-gpu machine", (_physical(8, 1, 32),)),
    # As large as it may grow: nodes that are not there yet are started for replicas that wait for them.
    "cluster": Machine(
        "the cluster", _nodes((1, _physical(2, 0, 8)), (2, _physical(4, 0, 16)), (4, _physical(8, 1, 32)))
    ),
}
"""The smallest machine that each file of `configs/` is for. The cluster: a head, and nodes without and with a GPU."""

_PART: Final = re.compile(r"^(?:(?P<count>[1-9][0-9]{0,3})x)?(?P<values>.+)$")


def machine(said: str) -> Machine:
    """A class of `CLASSES`, or one that is spelled out: `cpus=8,gpus=1,memory_gib=32`; several nodes are joined by `+`,
    equal ones counted by `Nx`: `cpus=4 + 4xcpus=16,gpus=1`.

    Raises:
        InvalidGraph: it is neither; says what there is.
    """
    if said in CLASSES:
        return CLASSES[said]
    parts = [_PART.match(part.strip()) for part in said.split("+")]
    nodes: list[Node] = []
    for part in parts:
        if part is None:
            raise _unreadable(said)
        nodes += [_node(part["values"], said)] * int(part["count"] or 1)
    return Machine("the machine" if len(nodes) == 1 else "the group of machines", tuple(nodes))


def machine_of_ray(nodes: Iterable[Mapping[str, Any]]) -> Machine:
    """The machine that `ray.nodes()` tells of: its nodes that are alive, with all that they ever had to give."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    return Machine(
        "this machine" if len(alive) == 1 else "this cluster",
        tuple(
            Node(
                cpus=resources.get("CPU", 0.0),
                gpus=int(resources.get("GPU", 0)),
                memory_gib=resources.get("memory", 0.0) / GIB,
                others=MappingProxyType(
                    {name: value for name, value in resources.items() if name not in ("CPU", "GPU", "memory")}
                ),
            )
            for resources in alive
        ),
    )


def this_machine() -> Machine:
    """What Ray would find here, were it started."""
    from ray._common.utils import get_system_memory
    from ray._private.accelerators import get_accelerator_manager_for_resource
    from ray._private.utils import get_num_cpus

    manager = get_accelerator_manager_for_resource("GPU")
    gpus = 0 if manager is None else manager.get_current_node_num_accelerators()
    return Machine("this machine", (_physical(get_num_cpus(), gpus, get_system_memory() / GIB),))


def _node(values: str, said: str) -> Node:
    found: dict[str, float] = {}
    for pair in values.split(","):
        name, _, value = (piece.strip() for piece in pair.partition("="))
        if name not in ("cpus", "gpus", "memory_gib") or name in found or not re.fullmatch(r"\d+(\.\d+)?", value):
            raise _unreadable(said)
        found[name] = float(value)
    if "cpus" not in found or found.get("gpus", 0.0) % 1:
        raise _unreadable(said)
    memory_gib = found["memory_gib"] * RAYS_SHARE if "memory_gib" in found else None
    return Node(found["cpus"], int(found.get("gpus", 0)), memory_gib)


def _unreadable(said: str) -> InvalidGraph:
    return InvalidGraph(
        f"--machine: {said!r:.80} is neither of {', '.join(CLASSES)}, nor like 'cpus=8,gpus=1,memory_gib=32' "
        "or 'cpus=4 + 4xcpus=16,gpus=1'"
    )
