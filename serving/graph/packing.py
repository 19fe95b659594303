"""Puts replicas on nodes, if there is a way to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from serving.graph.machines import Node

_ENOUGH: Final = 1e-6
"""Sums of fractions such as 0.1 are off by less; Ray itself counts in steps of 0.0001."""

_STEPS: Final = 20_000
"""Places that are tried before it is given up: a second or so. What fits is nearly always found on the first way."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One replica."""

    name: str
    """Of its deployment."""
    wants: Mapping[str, float]
    """`CPU`, `GPU`, `memory` (GiB), resources of the operator's own: all of one node, a fraction of one GPU."""
    per_node: int | None = None
    """Most of this name on one node; None: any number."""


class _Free:
    """What is left of a node."""

    def __init__(self, node: Node, resources: set[str]) -> None:
        self.amounts = {resource: node.has(resource) for resource in resources if resource != "GPU"}
        self.gpus = [1.0] * node.gpus
        self.names: list[str] = []

    def state(self) -> tuple:
        """Nodes of one state are one choice, not several."""
        return tuple(sorted(self.amounts.items())), tuple(sorted(self.gpus)), tuple(sorted(self.names))

    def give(self, piece: Piece) -> list[tuple[int, float]] | None:
        """Take the piece in: which GPUs were given how much; None where it does not fit, and nothing changed."""
        if piece.per_node is not None and self.names.count(piece.name) >= piece.per_node:
            return None
        others = {resource: amount for resource, amount in piece.wants.items() if resource != "GPU"}
        if any(self.amounts[resource] + _ENOUGH < amount for resource, amount in others.items()):
            return None
        given = self._gpus(piece.wants.get("GPU", 0.0))
        if given is None:
            return None
        for resource, amount in others.items():
            self.amounts[resource] -= amount
        for index, amount in given:
            self.gpus[index] -= amount
        self.names.append(piece.name)
        return given

    def take_back(self, piece: Piece, given: list[tuple[int, float]]) -> None:
        """Undo `give`."""
        for resource, amount in piece.wants.items():
            if resource != "GPU":
                self.amounts[resource] += amount
        for index, amount in given:
            self.gpus[index] += amount
        self.names.remove(piece.name)

    def _gpus(self, wanted: float) -> list[tuple[int, float]] | None:
        """The fullest GPU that has the fraction left, as Ray chooses; or as many whole ones."""
        if wanted >= 1:
            whole = [index for index, free in enumerate(self.gpus) if free > 1 - _ENOUGH]
            return [(index, 1.0) for index in whole[: int(wanted)]] if len(whole) >= wanted else None
        fitting = [(free, index) for index, free in enumerate(self.gpus) if free + _ENOUGH >= wanted]
        if not wanted:
            return []
        return [(min(fitting)[1], wanted)] if fitting else None


def pack(pieces: Sequence[Piece], nodes: Sequence[Node]) -> Piece | None:
    """The piece that is left over by the best of all ways of placing them, as far as they were tried; None where one
    leaves over none."""
    resources = {resource for piece in pieces for resource in piece.wants}
    # What is hardest to place goes first, equal pieces one after the other.
    order = sorted(pieces, key=lambda piece: (-piece.wants.get("GPU", 0.0), -piece.wants.get("CPU", 0.0), piece.name))
    free = [_Free(node, resources) for node in nodes]
    steps, farthest = 0, 0

    def place(at: int) -> bool:
        nonlocal steps, farthest
        farthest = max(farthest, at)
        if at == len(order):
            return True
        tried = set()
        for node in free:
            state = node.state()
            if state in tried:
                continue
            tried.add(state)
            steps += 1
            if steps > _STEPS:
                return False
            given = node.give(order[at])
            if given is None:
                continue
            if place(at + 1):
                return True
            node.take_back(order[at], given)
        return False

    return None if place(0) else order[farthest]
