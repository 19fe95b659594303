"""Plain measurements of a frame: how sharp, how well exposed, how colourful, and where its colours lie.

No weights, so it runs beside any embedding model for next to nothing, on whatever device holds the pixels.
"""

import numpy as np
import torch
from torch.nn import functional

from models.base import FrameModel, ModelInfo, Pixels, space_id
from models.frame_columns import COLOUR_STEPS, COLUMNS, EDGE_DIRECTIONS, LAYOUT_SIDE

LONG_SIDE = 160
"""Pixels of the longer side of the copy that is measured; also makes the numbers comparable between resolutions."""

DARK, BRIGHT = 16.0, 235.0
"""Luma (0-255) at or beyond which a pixel counts as clipped: the nominal black and white of ITU-R BT.601 video."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in luma, ITU-R BT.601."""


class FrameStats(FrameModel):
    """A measurement; see `COLUMNS`. All of it is done in `preprocess`: frames of any sizes can then be batched."""

    def __init__(self) -> None:
        self.info = ModelInfo(
            name="frame_stats",
            version="1",
            space=space_id(
                architecture="frame_stats", weights="1", preprocessing=f"long {LONG_SIDE}", dim=len(COLUMNS)
            ),
            dim=len(COLUMNS),
            kind="measurement",
            columns=COLUMNS,
        )

    def run(self, pixels: Pixels) -> np.ndarray:
        """uint8 [N, H, W, 3] RGB, numpy or torch on any device -> float32 [N, len(COLUMNS)] on the host."""
        return self.preprocess(pixels)

    def encode(self, prepared: np.ndarray) -> np.ndarray:
        """What `preprocess` measured, as it is."""
        return prepared

    def preprocess(self, pixels: Pixels) -> np.ndarray:
        """The same as `run`."""
        # torch takes no views that run backwards.
        frames = torch.as_tensor(np.ascontiguousarray(pixels) if isinstance(pixels, np.ndarray) else pixels)
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != torch.uint8:
            raise ValueError(f"pixels must be uint8 [N, H, W, 3], not {frames.dtype} {tuple(frames.shape)}")
        if len(frames) == 0:
            return np.zeros((0, len(COLUMNS)), np.float32)
        with torch.inference_mode():
            return measure(shrink(frames)).cpu().numpy()


def shrink(frames: torch.Tensor) -> torch.Tensor:
    """uint8 [N, H, W, 3] -> float32 [N, 3, h, w] in 0-255, longer side at most `LONG_SIDE`, area-averaged."""
    height, width = frames.shape[1:3]
    scale = LONG_SIDE / max(height, width)
    planes = frames.permute(0, 3, 1, 2)
    if scale >= 1:
        return planes.float()
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    if frames.device.type == "cpu":
        # torch resizes channels-last uint8 on CPUs without a detour over floats, ten times faster than mode="area";
        # at these ratios the anti-aliased triangle is an area average with soft edges.
        small = [functional.interpolate(one[None], size, mode="bilinear", antialias=True) for one in planes]
        return torch.cat(small).float()
    return functional.interpolate(planes.float(), size, mode="area")


def measure(small: torch.Tensor) -> torch.Tensor:
    """float32 [N, 3, h, w] in 0-255 -> float32 [N, len(COLUMNS)]."""
    red, green, blue = small.unbind(1)
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    flat = luma.flatten(1)
    scalars = torch.stack(
        [
            torch.log10(1.0 + _laplacian(luma).flatten(1).var(1, correction=0)),
            flat.mean(1) / 255.0,
            (flat <= DARK).float().mean(1),
            (flat >= BRIGHT).float().mean(1),
            flat.std(1, correction=0) / 255.0,
            _colourfulness(red, green, blue),
        ],
        dim=1,
    )
    tiles = functional.adaptive_avg_pool2d(small, LAYOUT_SIDE) / 255.0
    return torch.cat([scalars, tiles.permute(0, 2, 3, 1).flatten(1), _colours(small), _edges(luma / 255.0)], dim=1)


def _colours(small: torch.Tensor) -> torch.Tensor:
    """float32 [N, 3, h, w] in 0-255 -> float32 [N, COLOUR_STEPS ** 3], see `COLUMNS`."""
    level = (small * (COLOUR_STEPS / 256.0)).long().clamp(0, COLOUR_STEPS - 1)
    cell = ((level[:, 0] * COLOUR_STEPS + level[:, 1]) * COLOUR_STEPS + level[:, 2]).flatten(1)
    return _histogram(cell, torch.ones_like(cell, dtype=torch.float32), COLOUR_STEPS**3).sqrt()


def _edges(luma: torch.Tensor) -> torch.Tensor:
    """float32 [N, h, w] in 0-1 -> float32 [N, EDGE_DIRECTIONS], see `COLUMNS`."""
    across = luma[:, 1:, 1:] - luma[:, 1:, :-1]
    down = luma[:, 1:, 1:] - luma[:, :-1, 1:]
    turn = (torch.atan2(down, across) / (2.0 * torch.pi) + 0.5) * EDGE_DIRECTIONS
    direction = turn.long().clamp(0, EDGE_DIRECTIONS - 1).flatten(1)
    if direction.shape[1] == 0:  # a picture one pixel wide has no edges
        return torch.zeros(len(luma), EDGE_DIRECTIONS, device=luma.device)
    strength = torch.sqrt(across.square() + down.square()).flatten(1)
    return (10.0 * _histogram(direction, strength, EDGE_DIRECTIONS)).sqrt()


def _histogram(cell: torch.Tensor, weight: torch.Tensor, cells: int) -> torch.Tensor:
    """int64 [N, P] and float32 [N, P] -> float32 [N, cells], weights by cell over the number of pixels."""
    out = torch.zeros(len(cell), cells, device=cell.device)
    return out.scatter_add_(1, cell, weight) / cell.shape[1]


def _laplacian(luma: torch.Tensor) -> torch.Tensor:
    """float32 [N, h, w] -> the 4-neighbour Laplacian, [N, h, w], edges repeated."""
    padded = functional.pad(luma[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    across = padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    down = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1]
    return across + down - 4.0 * luma


def _colourfulness(red: torch.Tensor, green: torch.Tensor, blue: torch.Tensor) -> torch.Tensor:
    """Three float32 [N, h, w] in 0-255 -> float32 [N], the metric M3 of Hasler & Süsstrunk."""
    opponents = torch.stack([red - green, 0.5 * (red + green) - blue]).flatten(2)
    spread = opponents.std(2, correction=0).square().sum(0).sqrt()
    offset = opponents.mean(2).square().sum(0).sqrt()
    return spread + 0.3 * offset
