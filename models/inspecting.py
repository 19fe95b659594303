"""What can be found out of a model by looking at it: how large it is, and how much work a frame is to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.base import FrameModel


def parameters(model: Any) -> int | None:
    """How many numbers it has learned.

    A model may say so itself, by an attribute `parameters`. Of others the networks, tensors and arrays among their
    attributes are counted, each once. None: there are none to be seen.
    """
    said = getattr(model, "parameters", None)
    if isinstance(said, int):
        return said
    found = {id(one): one for one in _learned(getattr(model, "__dict__", {}))}
    return sum(one.size if isinstance(one, np.ndarray) else one.numel() for one in found.values()) or None


def gflop_per_frame(model: FrameModel) -> float | None:
    """Work of one frame after its preprocessing, GFLOP: two for each multiplication in products and convolutions.

    None where torch sees no work: it is done without torch, or in threads of the model's own. Of a GPU the first answer
    may take a while.
    """
    frames = model.preprocess(model.example()[:1])
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: _product_flop}) as counter:
        model.encode(frames)
    return counter.get_total_flops() / 1e9 or None


def _learned(value: Any, depth: int = 3) -> Iterator[torch.Tensor | np.ndarray]:
    if isinstance(value, nn.Module):
        yield from value.parameters()
    elif isinstance(value, torch.Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind == "f"):
        yield value
    elif depth and dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _learned(getattr(value, field.name), depth - 1)
    elif depth and isinstance(value, dict):
        for one in value.values():
            yield from _learned(one, depth - 1)
    elif depth and isinstance(value, (list, tuple)):
        for one in value:
            yield from _learned(one, depth - 1)


def _product_flop(added: Sequence[int], left: Sequence[int], right: Sequence[int], **_: Any) -> int:
    """Of `addmm_`, from the shapes: torch counts `addmm`, but not this form in place, which `models.towers` goes by."""
    return 2 * left[0] * left[1] * right[1]
