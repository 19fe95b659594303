"""How candidates are looked for: a small policy over how many rows there are to look at."""

from dataclasses import dataclass
from typing import Final, Literal

#: Up to so many rows are all looked at: it is exact, and takes about as long as a graph does. See docs/decisions/0016.
EXACT_ROWS: Final = 10_000

#: A scan of the graph that finds too few goes on until it has seen so many rows, or this share of them.
MAX_SCAN_ROWS: Final = 100_000

#: Rows that the graph looks at for each one that is wanted, where nothing is filtered away.
_BREADTH: Final = 2

#: What pgvector takes.
_MAX_EF: Final = 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """How to look."""

    way: Literal["none", "exact", "graph"]
    """`none`: nothing can match. `exact`: every row that the filters leave. `graph`: the HNSW of the space, which goes
    on until enough rows meet the filters."""
    ef_search: int = 0
    reason: str = ""


def plan(matching: int, indexed: bool, wanted: int) -> Plan:
    """The way for `wanted` candidates.

    Args:
        matching: rows that meet the filters; counted no further than to one more than `EXACT_ROWS`.
        indexed: whether the space has a graph.
    """
    if matching == 0:
        return Plan("none", reason="no moment meets the filters")
    if matching <= EXACT_ROWS:
        return Plan("exact", reason=f"{matching} rows are all looked at")
    if not indexed:
        return Plan("exact", reason="the space has no graph yet: all rows are looked at")
    return Plan("graph", min(_MAX_EF, _BREADTH * wanted), f"more than {EXACT_ROWS} rows: the graph is asked")
