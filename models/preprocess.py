"""Frames to what a CLIP sees: open_clip's own preprocessing, on batches of uint8 tensors instead of PIL images.

Equal to open_clip's PIL transform to 1/255 before normalisation, because torch's uint8 resize is Pillow's fixed-point
algorithm; to 2/255 at one value in 6 million (tests/models/test_preprocess.py, `benchmarks parity`). On a Zen 3
core a 1080p frame takes 1.7 ms, with PIL 18.
What is cut to 0..255 between the two passes depends on which side is resized first, and Pillow takes the height first
where that shrinks by more than twice as many pixels as the width (phones' 9:20, tall frames that are squashed); so do
we, on a CPU. A GPU computes in float32 and cuts once, at the end: up to 22/255 off on noise, 0.4/255 on average.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional

from models.base import Pixels

Mode = Literal["shortest", "longest", "squash"]

_KERNELS = {"bicubic": torch.ops.aten._upsample_bicubic2d_aa, "bilinear": torch.ops.aten._upsample_bilinear2d_aa}

Pass = tuple[tuple[int, int], tuple[float, float]]
"""Of a resize: (height, width) after it, and its scales."""

# torch has uint8 resize kernels for these; elsewhere it is torchvision's float32 detour that is right.
_UINT8_KERNELS = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a frame of one size: resized to `resized`, cut to `crop`, padded by `pad`."""

    resized: tuple[int, int]
    """(height, width) of the whole frame after resizing, pixels."""
    crop: tuple[int, int, int, int]
    """(top, left, height, width) inside the resized frame."""
    pad: tuple[int, int, int, int]
    """(left, right, top, bottom) around the crop."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """open_clip's `preprocess_cfg`, and the same computation."""

    size: tuple[int, int]
    """(height, width) of what the model takes, pixels."""
    mode: Mode = "shortest"
    """`shortest` fills the square and cuts the ends, `longest` shows everything and pads, `squash` distorts."""
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)
    fill: int = 0
    _rows: dict[Any, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Preprocessing:
        """From the `preprocess_cfg` that open_clip leaves on a vision tower. Raises ValueError on unknown modes."""
        size = config["size"]
        mode = config.get("resize_mode") or "shortest"
        interpolation = config.get("interpolation") or "bicubic"
        if mode not in ("shortest", "longest", "squash") or interpolation not in (*_KERNELS, "random"):
            raise ValueError(f"cannot preprocess with {mode = } and {interpolation = }")
        return cls(
            size=(size, size) if isinstance(size, int) else (int(size[0]), int(size[1])),
            mode=mode,
            # open_clip infers with bicubic where training drew the filter at random.
            interpolation="bilinear" if interpolation == "bilinear" else "bicubic",
            mean=_three(config["mean"]),
            std=_three(config["std"]),
            fill=int(config.get("fill_color") or 0),
        )

    def describe(self) -> str:
        """Canonical text for `space_id`: equal texts, equal pixels."""
        parts = (self.size, self.mode, self.interpolation, self.mean, self.std, self.fill)
        return json.dumps(parts, separators=(",", ":"))

    def plan(self, height: int, width: int) -> Plan:
        """Where open_clip's transform puts a frame of this size; the rounding is torchvision's."""
        wanted_h, wanted_w = self.size
        if self.mode == "squash":
            return Plan(self.size, (0, 0, wanted_h, wanted_w), (0, 0, 0, 0))
        if self.mode == "shortest" and wanted_h == wanted_w:
            short, long = min(height, width), max(height, width)
            long = int(wanted_h * long / short)
            resized = (wanted_h, long) if height <= width else (long, wanted_h)
        else:
            pick = min if self.mode == "shortest" else max
            ratio = pick(height / wanted_h, width / wanted_w)
            resized = (round(height / ratio), round(width / ratio))
        spare_h, spare_w = resized[0] - wanted_h, resized[1] - wanted_w
        top, left = (round(max(spare, 0) / 2.0) for spare in (spare_h, spare_w))
        crop = (top, left, min(wanted_h, resized[0]), min(wanted_w, resized[1]))
        missing_h, missing_w = max(-spare_h, 0), max(-spare_w, 0)
        return Plan(resized, crop, (missing_w // 2, (missing_w + 1) // 2, missing_h // 2, (missing_h + 1) // 2))

    def __call__(self, pixels: Pixels) -> torch.Tensor:
        """uint8 [N, H, W, 3], numpy or torch on any device -> uint8 [N, 3, *size] there, channels last in memory.

        Raises ValueError when the shape or dtype is another.
        """
        frames = _as_tensor(pixels)
        plan = self.plan(frames.shape[2], frames.shape[3])
        frames = self._resize(frames, plan)
        return functional.pad(frames, plan.pad, value=self.fill) if any(plan.pad) else frames

    def normalise(self, frames: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """uint8 [N, 3, H, W] as `__call__` gives it -> `dtype`, same shape: (x / 255 - mean) / std in float32."""
        n, channels, height, width = frames.shape
        scale, shift = self._row(width, frames.device)
        # Row by row, so that the innermost loop is W * 3 values long and not 3.
        rows = frames.permute(0, 2, 3, 1).reshape(n, height, width * channels).to(torch.float32)
        rows = rows.mul_(scale).add_(shift).to(dtype)
        return rows.view(n, height, width, channels).permute(0, 3, 1, 2)

    def _resize(self, frames: torch.Tensor, plan: Plan) -> torch.Tensor:
        _, _, height, width = frames.shape
        top, left, crop_h, crop_w = plan.crop
        if plan.resized == (height, width):
            resized = frames
        elif frames.device.type == "cpu" and _UINT8_KERNELS:
            # Asked for fewer columns and rows at the scale of the whole, the kernel computes only those, bit for bit
            # the same: 10 % less work on 16:9, 35 % on 9:16. (What lies left of and above the crop cannot be spared.)
            kernel, (to_h, to_w) = _KERNELS[self.interpolation], plan.resized
            rows, columns = _end(height, to_h, top + crop_h), _end(width, to_w, left + crop_w)
            passes = [((rows, width), (to_h / height, 1.0)), ((rows, columns), (1.0, to_w / width))]
            if not height_first(height, width, plan.resized):
                passes = [((height, columns), (1.0, to_w / width)), ((rows, columns), (to_h / height, 1.0))]
            if to_h > height or to_w > width:
                resized = _enlarged(kernel, frames, passes)
            elif passes[0][0] == (rows, width):
                for size, scales in passes:
                    frames = kernel(frames, list(size), False, *scales)
                resized = frames
            else:
                # Columns first is what the kernel does by itself, in one call.
                resized = kernel(frames, [rows, columns], False, to_h / height, to_w / width)
        else:
            from torchvision.transforms.v2 import InterpolationMode
            from torchvision.transforms.v2.functional import resize

            resized = resize(frames, list(plan.resized), InterpolationMode(self.interpolation), antialias=True)
        return resized[:, :, top : top + crop_h, left : left + crop_w]

    def _row(self, width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Factor and summand of one row of `width` pixels, float32 [width * 3] each."""
        key = (width, device)
        if key not in self._rows:
            mean, std = torch.tensor(self.mean, dtype=torch.float64), torch.tensor(self.std, dtype=torch.float64)
            pair = (1.0 / (255.0 * std), -mean / std)
            factor, summand = (part.repeat(width).to(device, torch.float32) for part in pair)
            self._rows[key] = (factor, summand)
        return self._rows[key]


def _enlarged(kernel: Callable[..., torch.Tensor], frames: torch.Tensor, passes: Sequence[Pass]) -> torch.Tensor:
    """Pillow's way in float32. torch's uint8 kernel keeps its weights in 16 bits, which is 2 steps off for some values
    in 100,000 where pictures are enlarged; where they are reduced it is as good, and faster."""
    pictures = frames.float()
    for size, scales in passes:
        pictures = kernel(pictures, list(size), False, *scales).add_(0.5).floor_().clamp_(0, 255)
    return pictures.to(torch.uint8)


def _as_tensor(pixels: Pixels) -> torch.Tensor:
    """A view [N, 3, H, W] of uint8 [N, H, W, 3]: no copy, in the memory order that the kernel is 3x faster on."""
    if isinstance(pixels, np.ndarray):
        # torch takes neither negative strides nor, without a warning, read-only memory.
        usable = pixels.flags.writeable and min(pixels.strides, default=0) >= 0
        pixels = torch.from_numpy(pixels if usable else pixels.copy())
    if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3 or 0 in pixels.shape[1:]:
        raise ValueError(f"expected frames as uint8 [N, H, W, 3], got {pixels.dtype} {list(pixels.shape)}")
    return pixels.permute(0, 3, 1, 2)


def height_first(height: int, width: int, resized: tuple[int, int]) -> bool:
    """Whether Pillow (13.0) resizes the height of such a frame before its width; found out by trying, for both filters.

    >>> height_first(736, 480, (224, 224)), height_first(737, 480, (224, 224))
    (False, True)
    """
    return height - resized[0] > 2 * max(width - resized[1], 0)


def _end(source: int, whole: int, end: int) -> int:
    """How many of the `whole` resized rows (or columns) to ask the kernel for, of which the first `end` are wanted."""
    # A side whose length does not change is left out by the kernel, whatever the scale: never make it look like one.
    return whole if source in (whole, end) else end


def _three(values: Any) -> tuple[float, ...]:
    return (float(values),) * 3 if isinstance(values, (int, float)) else tuple(float(value) for value in values)
