"""Random scenes: what the bundled model is trained and measured on."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models.training.backgrounds import TEXTURES, Rgb
from models.training.outlines import SHAPES, SWING_DEG
from models.training.scenes import COLORS, HELD_OUT, Background, Camera, Object, Scene, Text

Pair = tuple[str, str]
"""A colour and a shape."""

ALL_PAIRS: tuple[Pair, ...] = tuple((color, shape) for color in COLORS for shape in SHAPES)
SEEN_PAIRS: tuple[Pair, ...] = tuple(pair for pair in ALL_PAIRS if pair not in HELD_OUT)
"""The pairs that training draws."""
UNSEEN_PAIRS: tuple[Pair, ...] = tuple(pair for pair in ALL_PAIRS if pair in HELD_OUT)

MIN_CONTRAST = 90.0
"""Euclidean RGB distance below which two shades are not drawn one on the other."""

_KINDS = {
    "one": 0.40,
    "copies": 0.13,
    "mixed": 0.17,
    "texture": 0.09,
    "text": 0.06,
    "gradient": 0.02,
    "blank": 0.03,
    "static": 0.03,
    "distractor": 0.07,
}
"""The kinds of scene and how often each is drawn."""


def sample_scene(
    rng: np.random.Generator, *, pairs: Sequence[Pair] = SEEN_PAIRS, kind: str | None = None, on_texture: float = 0.0
) -> Scene:
    """Draw a random scene whose objects all belong to `pairs`.

    `on_texture` is the share of the scenes with objects that get a texture behind them, over and above the few that
    have one anyway. `kind` is one of "one" (a single object), "copies" (2-9 alike), "mixed" (2-6 any), "texture",
    "text", "gradient", "blank", "static", "distractor"; None draws one at its usual frequency.

    Raises:
        ValueError: `kind` is none of them.
    """
    if kind is None:
        kind = str(rng.choice(list(_KINDS), p=list(_KINDS.values())))
    if kind not in _KINDS:
        raise ValueError(f"unknown {kind = }, one of {tuple(_KINDS)}")
    with_objects = kind in ("one", "copies", "mixed")
    busy = with_objects and on_texture > 0.0 and rng.random() < on_texture
    background = _textured(rng) if busy else _background_for(kind, rng)
    objects: tuple[Object, ...] = ()
    text = None
    if with_objects:
        objects = _objects(kind, rng, pairs, background)
        if rng.random() < 0.06:
            text = _text(rng, background, subtitle=True)
    elif kind == "text":
        text = _text(rng, background, subtitle=bool(rng.random() < 0.2))
    return Scene(background, objects, text, _camera(rng))


def shade(rng: np.random.Generator, color: str) -> Rgb:
    """A random shade that still deserves the name of `color`, RGB 0-255."""
    base = np.asarray(COLORS[color], dtype=np.float64)
    if color in ("black", "white", "gray"):
        spread = {"black": (0, 26), "white": (-22, 9), "gray": (-26, 26)}[color]
        value = base + rng.uniform(*spread) + rng.normal(0, 2, 3)
    else:
        value = base * rng.uniform(0.88, 1.08) + rng.normal(0, 9, 3)
    r, g, b = (int(c) for c in value.clip(0, 255))
    return r, g, b


def distance(first: Rgb, second: Rgb) -> float:
    """Euclidean distance of two RGB shades (0-441)."""
    return float(np.linalg.norm(np.subtract(first, second)))


def _background_for(kind: str, rng: np.random.Generator) -> Background:
    match kind:
        case "texture":
            return _textured(rng)
        case "gradient":
            return _gradient(rng)
        case "blank":
            return _plain(rng, unnamed=0.0)
        case "static":
            return Background("static", None, period=float(rng.uniform(0.008, 0.04)), seed=_seed(rng))
        case "distractor":
            return Background("clouds" if rng.random() < 0.4 else "clutter", None, seed=_seed(rng))
        case _:
            draw = rng.random()
            if draw < 0.78:
                return _plain(rng, unnamed=0.4)
            if draw < 0.86:
                return _gradient(rng)
            if draw < 0.92:
                return _textured(rng)
            return Background("clouds" if draw < 0.96 else "clutter", None, seed=_seed(rng))


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _unnamed(rng: np.random.Generator) -> Rgb:
    r, g, b = (int(c) for c in rng.integers(0, 256, 3))
    return r, g, b


def _plain(rng: np.random.Generator, *, unnamed: float) -> Background:
    if rng.random() < unnamed:
        return Background("plain", None, rgb=_unnamed(rng))
    # Black, white and gray walls are what most real frames have behind a shape.
    color = str(rng.choice(["black", "white", "gray"] if rng.random() < 0.4 else list(COLORS)))
    return Background("plain", color, rgb=shade(rng, color))


def _two_shades(rng: np.random.Generator, contrast: float) -> tuple[str, Rgb, str, Rgb]:
    while True:
        first, second = (str(c) for c in rng.choice(list(COLORS), 2, replace=False))
        first_rgb, second_rgb = shade(rng, first), shade(rng, second)
        if distance(first_rgb, second_rgb) > contrast:
            return first, first_rgb, second, second_rgb


def _textured(rng: np.random.Generator) -> Background:
    first, first_rgb, second, second_rgb = _two_shades(rng, contrast=110.0)
    kind = TEXTURES[int(rng.integers(len(TEXTURES)))]
    square_on = kind in ("checkerboard", "grid", "dots") and rng.random() < 0.7
    angle = float(rng.uniform(-8, 8) if square_on else rng.uniform(0, 180))
    if kind == "stripes" and rng.random() < 0.4:
        angle = float(rng.choice([0.0, 90.0]))
    return Background(kind, first, second, first_rgb, second_rgb, float(rng.uniform(0.12, 0.42)), angle, _seed(rng))


def _gradient(rng: np.random.Generator) -> Background:
    first, first_rgb, second, second_rgb = _two_shades(rng, contrast=130.0)
    return Background("gradient", first, second, first_rgb, second_rgb, angle_deg=float(rng.uniform(0, 360)))


def _visible(color: str, rgb: Rgb, background: Background) -> bool:
    if background.kind in ("static", "clouds", "clutter"):
        return True
    if color in (background.color, background.second):
        return False
    first, second = background.rgbs
    if background.kind != "gradient":
        return min(distance(rgb, first), distance(rgb, second)) > MIN_CONTRAST
    steps = np.linspace(0.0, 1.0, 8)[:, None] * np.subtract(second, first) + first
    return float(np.linalg.norm(steps - rgb, axis=1).min()) > MIN_CONTRAST


# Smaller objects exist, but a model that sees 64 pixels cannot tell their shape, so they would only teach noise.
def _objects(kind: str, rng: np.random.Generator, pairs: Sequence[Pair], background: Background) -> tuple[Object, ...]:
    if kind == "one":
        count, size_range = 1, (0.28, 0.85)
    else:
        count = int(rng.integers(2, 10 if kind == "copies" else 7))
        size_range = (0.22, 0.42 if count < 5 else 0.28)
    size = float(rng.uniform(*size_range))
    alike = _pick(rng, pairs, background)
    placed: list[Object] = []
    for _ in range(count):
        color, shape, rgb = alike if kind == "copies" else _pick(rng, pairs, background)
        if kind == "mixed":
            size = float(rng.uniform(*size_range))
        # Ten tries a place: a crowded frame simply ends up with fewer objects.
        for _ in range(10):
            x, y = (float(v) for v in rng.uniform(0.3 * size + 0.06, 0.94 - 0.3 * size, 2))
            if all(np.hypot(1.3 * (x - o.x), y - o.y) > 0.56 * (size + o.size) for o in placed):
                turn = float(rng.uniform(-1, 1) * SWING_DEG[shape]) if rng.random() < 0.7 else 0.0
                placed.append(Object(shape, color, x, y, size * float(rng.uniform(0.92, 1.08)), turn, rgb))
                break
    return tuple(placed)


def _pick(rng: np.random.Generator, pairs: Sequence[Pair], background: Background) -> tuple[str, str, Rgb]:
    for _ in range(200):
        color, shape = pairs[int(rng.integers(len(pairs)))]
        rgb = shade(rng, color)
        if _visible(color, rgb, background):
            return color, shape, rgb
    raise ValueError(f"none of {pairs = } can be seen on {background = }")


def _text(rng: np.random.Generator, background: Background, *, subtitle: bool) -> Text:
    bright = float(np.mean(background.rgbs))
    ink = COLORS["white"] if bright < 128 else COLORS["black"]
    letters = np.array(list(string.ascii_letters + "       "))
    lines = 1 + int(rng.integers(2 if subtitle else 4))

    def line() -> str:
        return "".join(rng.choice(letters, int(rng.integers(8, 26 if subtitle else 20)))).strip() or "text"

    height = float(rng.uniform(0.06, 0.09) if subtitle else rng.uniform(0.08, 0.2))
    y = float(rng.uniform(0.86, 0.92) if subtitle else rng.uniform(0.35, 0.6))
    return Text(tuple(line() for _ in range(lines)), ink, 0.5, y, height)


def _camera(rng: np.random.Generator) -> Camera:
    camera = Camera(seed=_seed(rng))
    fault = rng.random()
    if fault < 0.035:
        return replace(camera, exposure=float(rng.uniform(0.02, 0.22)), noise=float(rng.uniform(0, 4)))
    if fault < 0.07:
        return replace(camera, exposure=float(rng.uniform(2.6, 5.0)))
    if fault < 0.11:
        return replace(camera, blur=float(rng.uniform(0.03, 0.09)))
    if fault < 0.45:
        camera = replace(camera, exposure=float(rng.uniform(0.82, 1.14)))
    if rng.random() < 0.25:
        camera = replace(camera, noise=float(rng.uniform(1, 14)))
    if rng.random() < 0.25:
        camera = replace(camera, jpeg_quality=int(rng.integers(25, 95)))
    if rng.random() < 0.25:
        camera = replace(camera, blur=float(rng.uniform(0.001, 0.008)))
    return camera
