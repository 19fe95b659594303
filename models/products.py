"""Matrix products with constant weights: laid out once for the CPU's kernels, what follows the product done in the same
pass.

`torch.nn.functional.linear` lays the weights out anew in every call. oneDNN, which comes with torch, takes them laid
out; `benchmarks encode` has what a network gains by it. Elsewhere than on a CPU, and where torch lacks it, the plain
product serves.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Literal

import torch
from torch.nn import functional

_LOG = logging.getLogger(__name__)

Activation = Literal["gelu", "gelu_tanh", "silu"]

_IN_PLACE: dict[Activation, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": torch.ops.aten.gelu_,
    "gelu_tanh": lambda x: torch.ops.aten.gelu_(x, approximate="tanh"),
    "silu": torch.ops.aten.silu_,
}

#: oneDNN's name for each, and the variant of it.
_FUSED: dict[Activation | None, tuple[str, str]] = {
    None: ("none", ""),
    "gelu": ("gelu", "none"),
    "gelu_tanh": ("gelu", "tanh"),
    "silu": ("swish", ""),
}

_ROWS = 400
"""Rows that the layout is chosen for; it serves for any number."""


class Product:
    """`activation(x @ weight.T + bias)`, the weights as they are now."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, activation: Activation | None = None) -> None:
        """`weight`: [out, in]; `bias`: [out]."""
        self.bias = bias
        self._activation: Activation | None = activation
        self._packed = weight.device.type == "cpu" and packs(weight.dtype)
        # Only one of them is kept: the network's own weights go once nobody else has them.
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS) if self._packed else weight

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[..., in] -> [..., out], new memory."""
        if self._packed:
            kind, variant = _FUSED[self._activation]
            return torch.ops.mkldnn._linear_pointwise(x, self._weight, self.bias, kind, [], variant)
        made = functional.linear(x, self._weight, self.bias)
        return made if self._activation is None else _IN_PLACE[self._activation](made)

    def added_to(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """`y + self(x)` for [rows, out] and [rows, in], without an activation; may or may not use `y`'s memory."""
        if self._packed:
            return torch.ops.mkldnn._linear_pointwise.binary(x, y, self._weight, self.bias, "add")
        return (y if self.bias is None else y.add_(self.bias)).addmm_(x, self._weight.t())


@functools.cache
def packs(dtype: torch.dtype) -> bool:
    """Whether oneDNN takes such weights on this CPU, and computes right with them: its operators are torch's own, which
    may change them."""
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    if dtype is torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    ramp = torch.linspace(-1, 1, 64 * 48, dtype=torch.float32)
    x, weight, bias = ramp[: 5 * 48].view(5, 48).to(dtype), ramp.view(64, 48).to(dtype), ramp[:64].to(dtype)
    with torch.inference_mode():
        plain = functional.linear(x.float(), weight.float(), bias.float())
        try:
            packed = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)
            for activation, (kind, variant) in _FUSED.items():
                wanted = plain if activation is None else _IN_PLACE[activation](plain.clone())
                made = torch.ops.mkldnn._linear_pointwise(x, packed, bias, kind, [], variant)
                _require_close(made, wanted, dtype)
            _require_close(
                torch.ops.mkldnn._linear_pointwise.binary(x, bias.expand(5, 64).contiguous(), packed, bias, "add"),
                plain + bias.float(),
                dtype,
            )
        except (RuntimeError, AttributeError, TypeError, ValueError) as error:
            _LOG.warning("models run slower than they could: oneDNN cannot be used (%s)", str(error).partition("\n")[0])
            return False
    return True


def _require_close(made: torch.Tensor, wanted: torch.Tensor, dtype: torch.dtype) -> None:
    off = float((made.float() - wanted).abs().max())
    if not off <= float(wanted.abs().max()) * (1e-4 if dtype is torch.float32 else 2e-2):
        raise ValueError(f"it is off by {off:.1e} in {dtype}")
