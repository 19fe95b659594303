"""What fills a frame behind its objects: plain colours, gradients, patterns, and clutter that has no name."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageDraw

BackgroundKind = Literal[
    "plain", "gradient", "stripes", "checkerboard", "dots", "grid", "waves", "static", "clouds", "clutter"
]
BACKGROUND_KINDS: tuple[BackgroundKind, ...] = get_args(BackgroundKind)
"""`static` is television snow; `clouds` and `clutter` are distractors: they show nothing that has a word."""

TEXTURES: tuple[BackgroundKind, ...] = ("stripes", "checkerboard", "dots", "grid", "waves")
"""The patterns made of two colours."""

Rgb = tuple[int, int, int]


def paint_background(
    kind: BackgroundKind, first: Rgb, second: Rgb, period: float, angle_deg: float, seed: int, width: int, height: int
) -> np.ndarray:
    """Paint a background, uint8 [height, width, 3].

    `period` is the length of one repeat as a fraction of the shorter side, `angle_deg` the direction of the pattern,
    `seed` drives what is random. A pure function of its arguments. Raises ValueError on an unknown kind.
    """
    match kind:
        case "plain":
            return np.full((height, width, 3), first, dtype=np.uint8)
        case "static":
            return _static(period, seed, width, height)
        case "clouds":
            return _clouds(seed, width, height)
        case "clutter":
            return _clutter(seed, width, height)
        case "gradient":
            along, _ = _rotated_axes(angle_deg, width, height)
            low, high = float(along.min()), float(along.max())
            return _mix((along - low) / (high - low + 1e-6), first, second)
        case "stripes" | "checkerboard" | "dots" | "grid" | "waves":
            along, across = _rotated_axes(angle_deg, width, height)
            return _mix(_texture(kind, along / period, across / period).astype(np.float32), first, second)
        case _:
            raise ValueError(f"unknown background {kind = }, one of {BACKGROUND_KINDS}")


def _rotated_axes(angle_deg: float, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Two perpendicular coordinates per pixel, float32 [height, width], in units of the shorter side."""
    unit = float(min(width, height))
    x = (np.arange(width, dtype=np.float32) - width / 2) / unit
    y = (np.arange(height, dtype=np.float32) - height / 2) / unit
    cos, sin = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    along = np.float32(cos) * x[None, :] + np.float32(sin) * y[:, None]
    across = np.float32(-sin) * x[None, :] + np.float32(cos) * y[:, None]
    return along, across


def _texture(kind: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Where the second colour goes: bool [height, width], from coordinates counted in repeats."""
    match kind:
        case "stripes":
            return u % 1.0 < 0.5
        case "checkerboard":
            return (u % 1.0 < 0.5) ^ (v % 1.0 < 0.5)
        case "dots":
            return (u % 1.0 - 0.5) ** 2 + (v % 1.0 - 0.5) ** 2 < 0.3**2
        case "grid":
            return (u % 1.0 < 0.16) | (v % 1.0 < 0.16)
        case _:  # waves: stripes whose line swings sideways
            return (u + 0.35 * np.sin(2.0 * np.pi * v / 1.6)) % 1.0 < 0.5


def _mix(weight: np.ndarray, first: Rgb, second: Rgb) -> np.ndarray:
    start = np.asarray(first, dtype=np.float32)
    step = np.asarray(second, dtype=np.float32) - start
    return (start + weight[..., None] * step + 0.5).astype(np.uint8)


def _static(period: float, seed: int, width: int, height: int) -> np.ndarray:
    # The grain is tied to the frame, not to the pixel, so that it survives the way down to the model's input.
    cell = max(1.0, period * min(width, height))
    size = (max(2, round(height / cell)), max(2, round(width / cell)))
    grain = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    gray = Image.fromarray(grain).resize((width, height), Image.Resampling.NEAREST)
    return np.repeat(np.asarray(gray)[..., None], 3, axis=2)


def _clouds(seed: int, width: int, height: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    cells = int(rng.integers(2, 9))
    knots = rng.normal(rng.uniform(50, 205, 3), rng.uniform(15, 70), (cells, cells, 3)).clip(0, 255).astype(np.uint8)
    return np.asarray(Image.fromarray(knots).resize((width, height), Image.Resampling.BICUBIC))


def _clutter(seed: int, width: int, height: int) -> np.ndarray:
    """Random shards and strokes over clouds: busy, and none of it a known shape."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(_clouds(seed, width, height))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 16))):
        color = tuple(int(c) for c in rng.integers(0, 256, 3))
        center, reach = rng.uniform(-0.1, 1.1, 2), rng.uniform(0.05, 0.6)
        if rng.random() < 0.4:
            ends = (center + rng.uniform(-1, 1, (2, 2)) * reach) * (width, height)
            draw.line([tuple(p) for p in ends], fill=color, width=max(1, int(rng.uniform(0.01, 0.06) * height)))
            continue
        corners = int(rng.integers(5, 9))
        angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radius = reach * rng.uniform(0.2, 1.0, corners) / 2
        points = center + np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        draw.polygon([tuple(p) for p in points * (width, height)], fill=color)
    return np.asarray(image)
