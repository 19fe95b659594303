"""Whether what a model gives is an answer: looked at before anybody goes by it."""

import numpy as np

from models.base import ModelInfo

LENGTH_TOLERANCE = 0.02
"""How far from 1 an embedding's length may be: bfloat16 keeps 8 bits."""


def require_rows(rows: np.ndarray, count: int, info: ModelInfo) -> None:
    """Whether an answer is one: float32, as many rows as examples, of the model's width, of numbers; embeddings of
    length 1, scores between 0 and 1.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(rows, np.ndarray):
        raise ValueError(f"an answer that is a {type(rows).__module__}.{type(rows).__name__}, not a numpy array")
    if rows.shape != (count, info.dim):
        raise ValueError(f"an answer of shape {rows.shape}, not {(count, info.dim)}")
    if rows.dtype != np.float32:
        raise ValueError(f"an answer of {rows.dtype}, not float32")
    if not np.isfinite(rows).all():
        raise ValueError("an answer that holds no numbers")
    if info.kind == "scores" and len(rows) and not 0.0 <= rows.min() <= rows.max() <= 1.0:
        raise ValueError(f"scores from {rows.min():g} to {rows.max():g}, not from 0 to 1")
    if info.kind == "embedding" and len(rows) and np.abs(np.linalg.norm(rows, axis=1) - 1.0).max() > LENGTH_TOLERANCE:
        raise ValueError("embeddings that are not of length 1")
