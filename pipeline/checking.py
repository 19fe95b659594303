"""Whether a model really computes: its answer to a small example, looked at."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from models.base import ModelInfo
from pipeline.errors import CheckFailed

#: How far from 1 an embedding's length may be: bfloat16 keeps 8 bits.
_LENGTH_TOLERANCE = 0.02


@contextmanager
def failed_by(name: str) -> Iterator[None]:
    """Whatever goes wrong in the block is a failed check of the model of this name. Raises CheckFailed."""
    try:
        yield
    except Exception as error:
        raise CheckFailed(f"{name}: {type(error).__name__}: {error}"[:500]) from error


def require_rows(rows: np.ndarray, count: int, info: ModelInfo) -> None:
    """Whether an answer is one: as many rows as examples, of the model's width, of numbers; embeddings of length 1.

    Raises:
        ValueError: it is none.
    """
    if rows.shape != (count, info.dim):
        raise ValueError(f"an answer of shape {rows.shape}, not {(count, info.dim)}")
    if not np.isfinite(rows).all():
        raise ValueError("an answer that holds no numbers")
    if info.kind == "embedding" and np.abs(np.linalg.norm(rows, axis=1) - 1.0).max() > _LENGTH_TOLERANCE:
        raise ValueError("embeddings that are not of length 1")
