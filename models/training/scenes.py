"""Scenes: frozen descriptions of a picture, and the renderer that draws them.

A scene says all there is to know about its picture, so whether a caption is true of it is never a matter of opinion.
Positions and sizes are fractions, so the same scene renders at any size, and `dataclasses.replace` animates it:

    scene = Scene(Background(color="white"), (Object("circle", "red", x=0.2, y=0.5, size=0.3),))
    pixels = render(scene, 640, 360)                      # uint8 [360, 640, 3]
    later = replace(scene, objects=(replace(scene.objects[0], x=0.6),))
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from models.training.backgrounds import BackgroundKind, Rgb, paint_background
from models.training.outlines import SHAPES, outline

COLORS: dict[str, Rgb] = {
    "red": (218, 30, 35),
    "orange": (250, 138, 20),
    "yellow": (248, 226, 40),
    "green": (36, 158, 58),
    "cyan": (40, 212, 222),
    "blue": (34, 66, 214),
    "purple": (128, 42, 176),
    "pink": (250, 138, 190),
    "brown": (118, 70, 34),
    "black": (16, 16, 18),
    "white": (246, 246, 244),
    "gray": (128, 128, 130),
}
"""Every colour the bundled model knows, with its purest RGB (0-255)."""

HELD_OUT: frozenset[tuple[str, str]] = frozenset(
    {
        ("red", "arrow"),
        ("orange", "star"),
        ("yellow", "square"),
        ("green", "heart"),
        ("cyan", "triangle"),
        ("blue", "cross"),
        ("purple", "circle"),
        ("pink", "ring"),
        ("brown", "diamond"),
        ("black", "crescent"),
        ("white", "star"),
        ("gray", "square"),
    }
)
"""Pairs of colour and shape that training never draws nor names: they measure whether the model composes."""


@dataclass(frozen=True, slots=True)
class Object:
    """One filled shape."""

    shape: str
    """A member of `SHAPES`."""
    color: str
    """A key of `COLORS`."""
    x: float = 0.5
    """Centre, as a fraction of the width (0 left, 1 right)."""
    y: float = 0.5
    """Centre, as a fraction of the height (0 top, 1 bottom)."""
    size: float = 0.4
    """Diameter, as a fraction of the shorter side of the frame."""
    rotation_deg: float = 0.0
    """Clockwise turn, in degrees."""
    rgb: Rgb | None = None
    """The exact shade, 0-255; None is the purest one of `color`."""

    def __post_init__(self) -> None:
        if self.shape not in SHAPES or self.color not in COLORS:
            raise ValueError(f"unknown {self.shape = } or {self.color = }")
        if not self.size > 0:
            raise ValueError(f"{self.size = } must be above 0")


@dataclass(frozen=True, slots=True)
class Background:
    """What is behind the objects."""

    kind: BackgroundKind = "plain"
    color: str | None = "gray"
    """Name of the first colour; None when the shade has no clear name."""
    second: str | None = None
    """Name of the second colour of a texture or gradient; None elsewhere, or when it has no clear name."""
    rgb: Rgb | None = None
    """The exact first shade, 0-255; None is the purest one of `color`."""
    second_rgb: Rgb | None = None
    """The exact second shade, 0-255; None is the purest one of `second`."""
    period: float = 0.2
    """Length of one repeat of a texture, or of one grain of static, as a fraction of the shorter side."""
    angle_deg: float = 0.0
    """Direction of the pattern, in degrees."""
    seed: int = 0
    """Drives static, clouds and clutter."""

    @property
    def rgbs(self) -> tuple[Rgb, Rgb]:
        """The two shades that are painted, 0-255; the same one twice if there is no second."""
        first = self.rgb or COLORS[self.color or "gray"]
        return first, self.second_rgb or (COLORS[self.second] if self.second else first)


@dataclass(frozen=True, slots=True)
class Text:
    """Lines of writing, centred on a point."""

    lines: tuple[str, ...]
    rgb: Rgb = (255, 255, 255)
    """Colour of the letters, 0-255."""
    x: float = 0.5
    """Centre of the block, as a fraction of the width."""
    y: float = 0.5
    """Centre of the block, as a fraction of the height."""
    height: float = 0.12
    """Height of a line, as a fraction of the height of the frame."""


@dataclass(frozen=True, slots=True)
class Camera:
    """What happens to the picture after it is painted."""

    exposure: float = 1.0
    """Gain: 1 is normal, 0.1 a dark frame, 4 a blown-out one."""
    blur: float = 0.0
    """Standard deviation of a gaussian blur, as a fraction of the shorter side."""
    noise: float = 0.0
    """Standard deviation of additive noise, in levels of 0-255."""
    jpeg_quality: int | None = None
    """Compress and decompress at this JPEG quality (1-95); None leaves the picture alone."""
    seed: int = 0
    """Drives the noise."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A complete description of a picture; equal scenes render to equal pixels."""

    background: Background = field(default_factory=Background)
    objects: tuple[Object, ...] = ()
    """Painted in order: the last one is on top."""
    text: Text | None = None
    camera: Camera = field(default_factory=Camera)


def render(scene: Scene, width: int, height: int, *, supersample: int = 2) -> np.ndarray:
    """Draw a scene, uint8 RGB [height, width, 3].

    Edges are smoothed by drawing `supersample` times larger (1 is fastest, for who shrinks the result anyway).
    A pure function of its arguments. Raises ValueError when a side is below 8 pixels.
    """
    if min(width, height) < 8:
        raise ValueError(f"{width = } and {height = } must be at least 8 pixels")
    canvas = (width * supersample, height * supersample)
    image = Image.fromarray(_background_pixels(scene.background, *canvas))
    draw = ImageDraw.Draw(image)
    for item in scene.objects:
        draw.polygon(_polygon(item, *canvas), fill=item.rgb or COLORS[item.color])
    if scene.text is not None:
        _write(draw, scene.text, *canvas)
    if supersample > 1:
        image = image.reduce(supersample)
    return _expose(image, scene.camera)


@lru_cache(maxsize=4)
def _background_pixels(background: Background, width: int, height: int) -> np.ndarray:
    # Cached because in a video it is the objects that move; Image.fromarray copies, so the entry stays untouched.
    first, second = background.rgbs
    return paint_background(
        background.kind, first, second, background.period, background.angle_deg, background.seed, width, height
    )


def _polygon(item: Object, width: int, height: int) -> list[tuple[float, float]]:
    turn = np.radians(item.rotation_deg)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    points = outline(item.shape) @ rotation * (item.size * min(width, height)) + (item.x * width, item.y * height)
    return [(float(x), float(y)) for x, y in points]


@lru_cache(maxsize=64)
def _font(pixels: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(pixels)  # embedded in pillow: the same letters on every machine


def _write(draw: ImageDraw.ImageDraw, text: Text, width: int, height: int) -> None:
    line_height = text.height * height
    top = text.y * height - line_height * (len(text.lines) - 1) / 2
    font = _font(max(4, round(line_height * 0.8)))
    for i, line in enumerate(text.lines):
        draw.text((text.x * width, top + i * line_height), line, fill=text.rgb, font=font, anchor="mm")


def _expose(image: Image.Image, camera: Camera) -> np.ndarray:
    if camera.blur > 0:
        image = image.filter(ImageFilter.GaussianBlur(camera.blur * min(image.size)))
    if camera.exposure != 1.0 or camera.noise > 0:
        pixels = np.asarray(image).astype(np.float32) * camera.exposure
        if camera.exposure > 1.0:
            pixels += 40.0 * (camera.exposure - 1.0)  # veiling glare: blacks turn gray before whites clip
        if camera.noise > 0:
            noise = np.random.default_rng(camera.seed).standard_normal(pixels.shape, dtype=np.float32)
            pixels += camera.noise * noise
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    if camera.jpeg_quality is not None:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=camera.jpeg_quality)
        image = Image.open(buffer)
    return np.array(image)
