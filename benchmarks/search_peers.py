"""Others who find the nearest of the same vectors: exactly by numpy, and by graphs of their own in memory.

Those that are not installed are left out; they may lie in a folder of their own (`--peers`). None has rows, tenants or
filters: where something is filtered, they are asked for all that the filters might leave, or look at those alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

#: Edges of a node, and how many are looked at while it is put in, as the project's own graph has them.
EDGES, CONSTRUCTION = 32, 64


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to the nearest."""

    name: str
    ask: Callable[[np.ndarray, np.ndarray | None, int], np.ndarray]
    """(float32 [D], rows that may be found or None for all, K) -> rows, nearest first."""


def exact(vectors: np.ndarray) -> Peer:
    """All products, by numpy."""

    def ask(query: np.ndarray, rows: np.ndarray | None, wanted: int) -> np.ndarray:
        products = (vectors if rows is None else vectors[rows]) @ query
        best = np.argpartition(-products, min(wanted, len(products) - 1))[:wanted]
        best = best[np.argsort(-products[best])]
        return best if rows is None else rows[best]

    return Peer("numpy", ask)


def faiss_hnsw(vectors: np.ndarray, ef: int) -> Peer:
    """faiss' HNSW. Raises ImportError where it is not installed."""
    import faiss

    index = faiss.IndexHNSWFlat(vectors.shape[1], EDGES, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = CONSTRUCTION
    index.add(vectors)

    def ask(query: np.ndarray, rows: np.ndarray | None, wanted: int) -> np.ndarray:
        options = {"efSearch": ef} | ({} if rows is None else {"sel": faiss.IDSelectorBatch(rows)})
        return index.search(query[None], wanted, params=faiss.SearchParametersHNSW(**options))[1][0]

    return Peer("faiss", ask)


def usearch_hnsw(vectors: np.ndarray, ef: int) -> Peer:
    """usearch's HNSW in half precision; it knows no filters but what is left of what it finds. Raises ImportError."""
    from usearch.index import Index

    index = Index(
        ndim=vectors.shape[1],
        metric="ip",
        dtype="f16",
        connectivity=EDGES,
        expansion_add=CONSTRUCTION,
        expansion_search=ef,
    )
    index.add(np.arange(len(vectors)), vectors)

    def ask(query: np.ndarray, rows: np.ndarray | None, wanted: int) -> np.ndarray:
        found = index.search(query, wanted if rows is None else 100 * wanted).keys
        return found[:wanted] if rows is None else found[np.isin(found, rows)][:wanted]

    return Peer("usearch", ask)


def others(vectors: np.ndarray, ef: int) -> Iterator[Peer | tuple[str, str]]:
    """Peers, and (name, why not) of those that cannot run here."""
    yield exact(vectors)
    for name, make in (("faiss", faiss_hnsw), ("usearch", usearch_hnsw)):
        try:
            yield make(vectors, ef)
        except Exception as error:  # noqa: BLE001 - one that cannot run is a line of the result, not the end
            yield name, f"{type(error).__name__}: {error}"
