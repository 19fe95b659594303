"""The outlines of the known shapes, as closed polygons of diameter about 1 around the origin (y grows downwards)."""

from __future__ import annotations

from functools import cache

import numpy as np

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "diamond", "crescent", "arrow")
"""Every shape the bundled model knows, in the order of all its tables."""

SWING_DEG = {
    "circle": 180.0,
    "square": 14.0,  # a square on its corner is a diamond
    "triangle": 25.0,
    "star": 180.0,
    "cross": 20.0,
    "ring": 180.0,
    "heart": 25.0,
    "diamond": 12.0,
    "crescent": 180.0,
    "arrow": 180.0,
}
"""How far (degrees, either way) a shape may turn and still be called by its name."""

_ARC_POINTS = 40


def _arc(radius: float, start_deg: float = 0.0, end_deg: float = 360.0, center_x: float = 0.0) -> np.ndarray:
    angle = np.radians(np.linspace(start_deg, end_deg, _ARC_POINTS))
    return np.stack([center_x + radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _star() -> np.ndarray:
    angle = np.radians(np.arange(10) * 36.0 - 90.0)
    radius = np.where(np.arange(10) % 2 == 0, 0.56, 0.23)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _cross() -> np.ndarray:
    arm, long = 0.16, 0.5
    corners = [(-arm, -long), (arm, -long), (arm, -arm), (long, -arm), (long, arm), (arm, arm)]
    return np.array(corners + [(-x, -y) for x, y in corners])


def _heart() -> np.ndarray:
    t = np.linspace(0.0, 2.0 * np.pi, _ARC_POINTS)
    x = 16.0 * np.sin(t) ** 3
    y = -(13.0 * np.cos(t) - 5.0 * np.cos(2 * t) - 2.0 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y - 2.5], axis=1) / 31.0


def _crescent() -> np.ndarray:
    # The horns of the moon: an outer arc, closed by the arc of a smaller disc pushed to the right.
    outer = _arc(0.5, 50.0, 310.0)
    horn_x, horn_y = outer[0]
    bite_x = 0.3
    bite_radius = float(np.hypot(horn_x - bite_x, horn_y))
    horn_deg = float(np.degrees(np.arctan2(horn_y, horn_x - bite_x)))
    inner = _arc(bite_radius, 360.0 - horn_deg, horn_deg, center_x=bite_x)
    return np.concatenate([outer, inner]) + np.array([0.12, 0.0])


_ARROW = [(-0.5, -0.12), (0.05, -0.12), (0.05, -0.36), (0.52, 0.0), (0.05, 0.36), (0.05, 0.12), (-0.5, 0.12)]


@cache
def outline(shape: str) -> np.ndarray:
    """The polygon of `shape`: float64 [points, 2] of (x, y), read-only. Raises ValueError on an unknown shape."""
    match shape:
        case "circle":
            points = _arc(0.5)
        case "square":
            points = np.array([(-0.44, -0.44), (0.44, -0.44), (0.44, 0.44), (-0.44, 0.44)])
        case "triangle":
            points = np.array([(0.0, -0.48), (0.52, 0.42), (-0.52, 0.42)])
        case "star":
            points = _star()
        case "cross":
            points = _cross()
        case "ring":
            # One polygon: out along the rim, back along the hole; even-odd filling leaves the hole open.
            points = np.concatenate([_arc(0.5), _arc(0.29)[::-1]])
        case "heart":
            points = _heart()
        case "diamond":
            points = np.array([(0.0, -0.56), (0.36, 0.0), (0.0, 0.56), (-0.36, 0.0)])
        case "crescent":
            points = _crescent()
        case "arrow":
            points = np.array(_ARROW)
        case _:
            raise ValueError(f"unknown {shape = }, one of {SHAPES}")
    points.setflags(write=False)
    return points
