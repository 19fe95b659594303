"""Heads that were trained elsewhere: a state dict with `N.weight` and `N.bias`, to the layers of a head.

LAION's aesthetic predictors are such: a linear map, or five of them with nothing in between, whose result is a mark
from 1 to 10.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from models.errors import UnknownModel
from models.heads import Layer, layers_of
from models.weights import read_tensors, reading

_KEY = re.compile(r"(?P<before>.*?)(?:(?P<number>\d+)\.)?(?P<what>weight|bias)")


def read_layers(path: Path) -> list[Layer]:
    """The layers of a file, in the order of their numbers. Nothing in the file is run.

    Raises:
        UnknownModel: there is no such file.
        BadWeights: it holds more than tensors, or others than a head has.
    """
    if not path.is_file():
        raise UnknownModel(f"there is no file {path}")
    with reading("a head", path):
        return layers_of(_renamed(read_tensors(path)))


def mapped(layers: Sequence[Layer], low: float, high: float) -> list[Layer]:
    """Layers whose results are 0 where they were `low`, and 1 where they were `high`.

    Raises:
        ValueError: `high` is not above `low`.
    """
    if not low < high:
        raise ValueError(f"a scale from {low:g} to {high:g} is none")
    last = layers[-1]
    width = np.float32(high - low)
    return [*layers[:-1], Layer(last.weight / width, (last.bias - np.float32(low)) / width)]


def _renamed(tensors: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """`model.3.weight`, `layers.3.weight` -> `layers.3.weight`; `weight` -> `layers.0.weight`."""
    out: dict[str, np.ndarray] = {}
    before = set()
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise ValueError(f"{key[:50]!r} is neither N.weight nor N.bias")
        before.add(match["before"])
        out[f"layers.{match['number'] or 0}.{match['what']}"] = tensor.detach().to(torch.float32).numpy()
    if len(before) > 1:
        raise ValueError(f"it has several networks: {', '.join(sorted(before))[:200]}")
    if not out:
        raise ValueError("it is empty")
    return out
