"""pgvector's half-precision vectors, as columns have them and as the driver takes and gives them.

Written as text, read as bytes: the extension's own binary format is what `halfvec_send` gives, and what needs no codec
of the driver's, whose set-up would cost each new connection a round trip.
"""

from typing import Any

import msgspec
import numpy as np
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

#: Digits behind the point: a half has eleven bits.
_DIGITS = 7

#: Bytes before the numbers: how many there are, and two that mean nothing.
_HEAD = 4


class Halfvec(UserDefinedType[Any]):
    """A vector of halves."""

    cache_ok = True

    def __init__(self, dim: int | None = None) -> None:
        """`dim`: numbers; columns do not say, for spaces differ."""
        self.dim = dim

    def get_col_spec(self, **_: Any) -> str:
        """See `UserDefinedType`."""
        return "halfvec" if self.dim is None else f"halfvec({self.dim})"


# So that what is read from a database is known again.
ischema_names["halfvec"] = Halfvec


def literals(vectors: np.ndarray) -> list[str]:
    """float [N, D] -> N texts that PostgreSQL reads as `halfvec` or `vector`."""
    return [msgspec.json.encode(row).decode() for row in np.round(vectors.astype(np.float64), _DIGITS).tolist()]


def literal(vector: np.ndarray) -> str:
    """The same of one, float [D]."""
    return literals(vector[None])[0]


def matrix(sent: list[bytes], dim: int) -> np.ndarray:
    """What `halfvec_send` gave for N vectors -> float32 [N, dim].

    Raises:
        ValueError: one has another length.
    """
    if any(len(one) != _HEAD + 2 * dim for one in sent):
        raise ValueError(f"vectors are not all of {dim} numbers")
    halves = np.frombuffer(b"".join(sent), dtype=">f2").reshape(len(sent), _HEAD // 2 + dim)
    return halves[:, _HEAD // 2 :].astype(np.float32)
