"""What models tell apart in pictures, by the space of their vectors.

A model that was taught a closed list of things names them more surely than its vectors of pictures are near one
another: those also hold where a thing lies, how large, and before what. The list lies beside the weights with its
vectors, so that whoever compares pictures needs no text tower. Loads nothing heavy.
"""

import functools
import json
from pathlib import Path
from typing import Final

import numpy as np
from safetensors import safe_open

from models.base import Things

FILE: Final = Path(__file__).parent / "bundled" / "things.safetensors"


def things_of(space: str) -> Things | None:
    """What is told apart in a space; None: no list of its model was measured, which holds for all but the bundled."""
    theirs, things = _bundled()
    return things if space == theirs else None


@functools.cache
def _bundled() -> tuple[str, Things]:
    with safe_open(FILE, framework="np") as file:
        told = file.metadata()
        vectors = file.get_tensor("vectors").astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return told["space"], Things(tuple(json.loads(told["names"])), vectors)
