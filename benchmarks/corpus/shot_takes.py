"""Takes for the shot benchmark: what one camera sees between two boundaries, drawn from a seeded generator.

Everything that makes shot detection hard in practice is in here on purpose: fractal, photo-like textures, low contrast,
night, slides, grain, pans, whip pans, zooms, shake, passers-by, flashes, exposure changes and captions that pop up.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from benchmarks.corpus.shot_backgrounds import KINDS, background, fractal, paint, palette

#: Canvas over frame, so that the camera has somewhere to go.
CANVAS_W, CANVAS_H = 2.0, 1.5


@dataclass(frozen=True, slots=True)
class Sprite:
    """A thing in front of the background."""

    pixels: np.ndarray
    """float32 [h, w, 3]."""
    alpha: np.ndarray
    """float32 [h, w, 1], 0 to 1."""
    start: tuple[float, float]
    """Centre at the take's start, as fractions of width and height."""
    speed: tuple[float, float]
    """Fractions of width and height per second."""
    wobble: float
    """Amplitude of a small oscillation, fraction of the height."""
    enter_s: float = 0.0
    """When it appears (passers-by come from outside the frame)."""


@dataclass(frozen=True, slots=True)
class Take:
    """One unbroken view. All times count from the take's start."""

    canvas: np.ndarray
    """uint8 [H, W, 3], larger than the frame."""
    sprites: tuple[Sprite, ...]
    camera: str
    """still, drift, pan, whip, zoom, handheld or shaky."""
    angle: float
    """Direction of the camera's motion, radians."""
    scale: float
    """Zoom at the start, 1 or more."""
    offset: tuple[float, float]
    """Where on the canvas the camera starts, -1 to 1 of the room there is."""
    grain: float
    """Standard deviation of the noise, grey levels."""
    gain_steps: tuple[tuple[float, float, float], ...]
    """(time, ramp length, gain after it): exposure changes."""
    flashes: tuple[tuple[float, int, float], ...]
    """(time, frames, strength 0 to 1)."""
    caption_s: float | None
    """When a lower third pops up."""
    phase: float


def sprite(rng: np.random.Generator, height: int, width: int, size: float, ramp: np.ndarray) -> Sprite:
    """A blob or a head-and-shoulders figure, `size` of the frame's height, slowly moving."""
    side = max(16, int(height * size))
    mask = np.zeros((side, side), np.float32)
    if rng.random() < 0.5:
        cv2.ellipse(mask, (side // 2, int(side * 0.3)), (int(side * 0.16), int(side * 0.22)), 0, 0, 360, 1, -1)
        cv2.ellipse(mask, (side // 2, side), (int(side * 0.4), int(side * 0.5)), 0, 0, 360, 1, -1)
    else:
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        radius = side * 0.45 * rng.uniform(0.5, 1, 24)
        points = np.stack([side / 2 + radius * np.cos(angles), side / 2 + radius * np.sin(angles)], 1)
        cv2.fillPoly(mask, [points.astype(np.int32)], 1)
    mask = cv2.GaussianBlur(mask, (0, 0), max(1, side / 120))
    pixels = paint(fractal(rng, side, side, 1.2), ramp) * rng.uniform(0.6, 1.1)
    speed = (rng.normal(0, 0.08), rng.normal(0, 0.02))
    return Sprite(
        pixels.astype(np.float32),
        mask[..., None],
        (rng.uniform(0.2, 0.8), rng.uniform(0.5, 0.8)),
        speed,
        rng.uniform(0, 0.02),
    )


def new_take(rng: np.random.Generator, height: int, width: int, length_s: float) -> Take:
    """A take of its own, unrelated to others."""
    ramp = palette(rng)
    kind = str(rng.choice(KINDS, p=(0.16, 0.14, 0.12, 0.14, 0.08, 0.1, 0.12, 0.06, 0.08)))
    canvas = background(rng, kind, int(height * CANVAS_H), int(width * CANVAS_W), ramp)
    few = kind in ("slide", "fog")
    sprites = tuple(
        sprite(rng, height, width, rng.uniform(0.25, 0.9), palette(rng) if rng.random() < 0.6 else ramp)
        for _ in range(int(rng.integers(0, 2 if few else 4)))
    )
    still = kind == "slide"
    cameras = ("still", "drift", "pan", "whip", "zoom", "handheld", "shaky")
    camera = "still" if still else str(rng.choice(cameras, p=(0.22, 0.2, 0.16, 0.07, 0.12, 0.15, 0.08)))
    take = Take(
        canvas, sprites, camera, rng.uniform(0, 2 * np.pi), rng.uniform(1.0, 1.3), tuple(rng.uniform(-0.6, 0.6, 2)),
        float(rng.choice([0, 1.5, 3, 6], p=(0.3, 0.35, 0.25, 0.1))), (), (), None, rng.uniform(0, 7),
    )  # fmt: skip
    return _with_traps(rng, take, height, width, length_s)


def related_take(rng: np.random.Generator, other: Take, height: int, width: int, length_s: float) -> Take:
    """A take of the same place: another framing, other things in front of it, or another place in the same colours."""
    base = replace(
        other, gain_steps=(), flashes=(), caption_s=None, phase=rng.uniform(0, 7), angle=rng.uniform(0, 2 * np.pi)
    )
    way = rng.integers(0, 3)
    if way == 0:
        take = replace(base, scale=base.scale * rng.uniform(1.35, 1.8), offset=tuple(rng.uniform(-0.8, 0.8, 2)))
    elif way == 1:
        things = tuple(sprite(rng, height, width, rng.uniform(0.6, 1.0), palette(rng)) for _ in range(2))
        take = replace(base, sprites=things)
    else:
        flipped = np.ascontiguousarray(
            base.canvas[:, ::-1] if rng.random() < 0.5 else np.roll(base.canvas, base.canvas.shape[1] // 2, 1)
        )
        take = replace(base, canvas=flipped, sprites=base.sprites[:1])
    return _with_traps(rng, take, height, width, length_s)


def _with_traps(rng: np.random.Generator, take: Take, height: int, width: int, length_s: float) -> Take:
    """Things that are no boundary but look like one; only in takes long enough to keep clear of the real ones."""
    if length_s < 1.6:
        return take

    def when() -> float:
        return float(rng.uniform(0.6, length_s - 0.6))

    flashes = [(when(), int(rng.integers(1, 4)), rng.uniform(0.4, 1.0)) for _ in range(int(rng.random() < 0.2))]
    if flashes and rng.random() < 0.4:
        flashes.append((flashes[0][0] + 0.25, 1, rng.uniform(0.4, 1.0)))
    gains = tuple(
        (when(), float(rng.choice([0.0, 0.15, 0.5, 1.0])), rng.uniform(0.55, 1.6))
        for _ in range(int(rng.random() < 0.2))
    )
    passers = ()
    if rng.random() < 0.18:
        speed = float(rng.choice([-1, 1])) * rng.uniform(1.5, 4.0)
        thing = sprite(rng, height, width, rng.uniform(0.8, 1.5), palette(rng))
        passers = (replace(thing, start=(-0.5 if speed > 0 else 1.5, 0.6), speed=(speed, 0.0), enter_s=when()),)
    caption = when() if rng.random() < 0.12 else None
    return replace(take, flashes=tuple(flashes), gain_steps=gains, sprites=take.sprites + passers, caption_s=caption)


def render(
    take: Take, at_s: float, fps: float, height: int, width: int, rng: np.random.Generator, length_s: float
) -> np.ndarray:
    """float32 [height, width, 3] in 0..255: the take at `at_s` seconds, without grain."""
    dx, dy, zoom = _camera(take, at_s, length_s)
    scale = take.scale * zoom
    room_x, room_y = (CANVAS_W - 1 / scale) / 2 * width, (CANVAS_H - 1 / scale) / 2 * height
    cx = CANVAS_W * width / 2 + np.clip(take.offset[0] * room_x + dx * width, -room_x, room_x)
    cy = CANVAS_H * height / 2 + np.clip(take.offset[1] * room_y + dy * height, -room_y, room_y)
    to_canvas = np.float32([[1 / scale, 0, cx - width / 2 / scale], [0, 1 / scale, cy - height / 2 / scale]])
    picture = cv2.warpAffine(
        take.canvas,
        to_canvas,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    if take.camera == "whip" and _whipping(at_s, length_s):
        picture = cv2.blur(picture, (max(3, width // 30), 1))
    picture = picture.astype(np.float32)
    for thing in take.sprites:
        age = at_s - thing.enter_s
        if age >= 0:
            sway = thing.wobble * np.sin(4 * age + take.phase)
            x, y = (
                thing.start[0] + thing.speed[0] * age - dx * 0.7,
                thing.start[1] + thing.speed[1] * age + sway - dy * 0.7,
            )
            _paste(picture, thing, int(x * width), int(y * height))
    if take.caption_s is not None and at_s >= take.caption_s:
        bar = picture[int(height * 0.8) : int(height * 0.93), int(width * 0.06) : int(width * 0.6)]
        bar *= 0.2
        bar[bar.shape[0] // 3 : bar.shape[0] // 2, 10 : bar.shape[1] * 2 // 3] = 230
    for start, ramp, gain in take.gain_steps:
        done = 1.0 if ramp == 0 and at_s >= start else np.clip((at_s - start) / max(ramp, 1e-3), 0, 1)
        picture *= 1 + done * (gain - 1)
    for start, frames, strength in take.flashes:
        if start <= at_s < start + (frames - 0.5) / fps:
            picture += strength * (255 - np.minimum(picture, 255))
    return np.clip(picture, 0, 255)


def _whipping(at_s: float, length_s: float) -> bool:
    return abs(at_s - length_s / 2) < 0.2


def _camera(take: Take, t: float, length_s: float) -> tuple[float, float, float]:
    """Shift in frame widths and heights, and zoom, at `t`."""
    x, y = np.cos(take.angle), np.sin(take.angle)
    p = take.phase
    if take.camera == "drift":
        return 0.02 * t * x, 0.02 * t * y, 1 + 0.01 * t
    if take.camera == "pan":
        speed = 0.15 + 0.25 * (p % 1)
        return speed * t * np.sign(x), 0.02 * t * y, 1.0
    if take.camera == "whip":
        return 0.6 * np.sign(x) * np.clip((t - length_s / 2 + 0.2) / 0.4, 0, 1) + 0.01 * np.sin(5 * t), 0.0, 1.0
    if take.camera == "zoom":
        return (
            0.0,
            0.0,
            float(np.exp((0.12 + 0.2 * (p % 1)) * t * np.sign(y))) if y > 0 else 1.25 * float(np.exp(-0.08 * t)),
        )
    sway = {"handheld": 0.01, "shaky": 0.03}.get(take.camera, 0.0)
    wave_x = np.sin(7 * t + p) + 0.6 * np.sin(17 * t + 2 * p) + 0.4 * np.sin(31 * t)
    wave_y = np.sin(8 * t + 2 * p) + 0.6 * np.sin(19 * t + p) + 0.4 * np.sin(29 * t)
    return sway * wave_x, sway * wave_y, 1.0


def _paste(picture: np.ndarray, thing: Sprite, x: int, y: int) -> None:
    h, w = thing.alpha.shape[:2]
    top, left = y - h // 2, x - w // 2
    y0, y1, x0, x1 = max(0, top), min(picture.shape[0], top + h), max(0, left), min(picture.shape[1], left + w)
    if y0 < y1 and x0 < x1:
        part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        under = picture[y0:y1, x0:x1]
        under += (thing.pixels[part] - under) * thing.alpha[part]
