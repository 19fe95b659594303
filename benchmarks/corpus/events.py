"""Videos with planted events: calm filler with cuts, and one to three short stretches in which something happens.

Everything is drawn from a seed, so the truth is known to the frame and a second seed is a fair hold-out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from models.training.scenes import COLORS, Background, Camera, Object, Scene, render
from pipeline.synthesis import AUDIO_RATE_HZ, Encoding, write_video

WIDTH, HEIGHT, FPS = 480, 270, 15

EventKind = Literal["burst", "novel", "shake", "loud"]
"""`burst`: shapes dart about. `novel`: a scene unlike any other of the video, itself calm. `shake`: the picture is
thrown about. `loud`: shapes dart about and it gets loud."""
KINDS: tuple[EventKind, ...] = get_args(EventKind)

ENCODING = Encoding(gop=75, options={"preset": "veryfast", "crf": "26"})

_CALM_KINDS = ("plain", "gradient", "clouds", "clutter", "stripes")
_NOVEL_KINDS = ("dots", "checkerboard", "waves", "grid")
_PAN, _THROW = 30, 50
"""Pixels that the camera pans within a scene and that a shake adds, at most."""
_MARGIN = _PAN + _THROW


@dataclass(frozen=True, slots=True)
class Event:
    """What was planted, and when."""

    kind: EventKind
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class EventVideo:
    """The recipe of a video, and its truth."""

    seed: int
    duration_s: float
    cuts_s: tuple[float, ...]
    """Where filler scenes change; events bring cuts of their own."""
    events: tuple[Event, ...]
    sound: bool


def recipes(seed: int, count: int) -> tuple[EventVideo, ...]:
    """`count` videos of 40-60 s, every other one silent, with 1-3 events of 3-8 s each."""
    return tuple(_recipe(np.random.default_rng([seed, number]), number % 2 == 1) for number in range(count))


def _recipe(rng: np.random.Generator, sound: bool) -> EventVideo:
    duration_s = round(float(rng.uniform(40, 60)), 1)
    number = int(rng.integers(1, 4))
    kinds = [kind for kind in KINDS if sound or kind != "loud"]
    lengths = np.round(rng.uniform(3, 8, number) * FPS) / FPS
    # Free time before, between and after the events, at least 5 s between two of them.
    free_s = duration_s - lengths.sum() - 5.0 * (number - 1) - 3.0
    gaps = rng.dirichlet(np.full(number + 1, 2.0)) * free_s
    events = []
    time_s = 1.5
    for length, gap in zip(lengths, gaps, strict=False):
        start_s = round((time_s + gap) * FPS) / FPS
        events.append(Event(str(rng.choice(kinds)), start_s, start_s + float(length)))
        time_s = start_s + float(length) + 5.0
    # A filler take of less than 10 s would be a sudden novelty itself, and nobody could say why it is none.
    cuts = [round(float(t) * FPS) / FPS for t in np.cumsum(rng.uniform(10, 18, 6))]
    borders = [border for event in events for border in (event.start_s, event.end_s)]
    cuts_s = tuple(t for t in cuts if t < duration_s - 10 and all(abs(t - border) > 2 for border in borders))
    return EventVideo(int(rng.integers(2**31)), duration_s, cuts_s, tuple(events), sound)


def write(video: EventVideo, path: Path) -> Path:
    """Render and encode a video (H.264 in MP4, AAC sound)."""
    return write_video(path, frames(video), fps=FPS, encoding=ENCODING, audio=_sound(video) if video.sound else None)


def frames(video: EventVideo) -> Iterator[np.ndarray]:
    """uint8 [HEIGHT, WIDTH, 3] each."""
    rng = np.random.default_rng(video.seed)
    fillers = [_filler(rng) for _ in range(len(video.cuts_s) + 1)]
    specials = [_special(rng, event) for event in video.events]
    grain = rng.normal(0, 3, (4, HEIGHT, WIDTH, 1)).astype(np.float32)
    for number in range(round(video.duration_s * FPS)):
        time_s = number / FPS
        scene = fillers[int(np.searchsorted(video.cuts_s, time_s, side="right"))]
        for event, special in zip(video.events, specials, strict=True):
            if event.start_s <= time_s < event.end_s:
                pixels = special(scene, time_s)
                break
        else:
            pixels = scene.at(time_s)
        yield np.clip(pixels + grain[number % 4], 0, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class _Filler:
    """A calm scene: its shapes drift, and the camera pans slowly."""

    scene: Scene
    drift: np.ndarray
    """float64 [objects, 2], fractions of the frame a second."""
    pan: tuple[float, float]
    """Pixels a second."""

    def at(
        self, time_s: float, *, throw: tuple[float, float] = (0.0, 0.0), more: tuple[Object, ...] = ()
    ) -> np.ndarray:
        """float32 [HEIGHT, WIDTH, 3]: the camera thrown by so many pixels, with more objects in front."""
        moved = tuple(
            replace(item, x=_bounce(item.x + dx * time_s), y=_bounce(item.y + dy * time_s))
            for item, (dx, dy) in zip(self.scene.objects, self.drift, strict=True)
        )
        scene = replace(self.scene, objects=moved + more)
        whole = render(scene, WIDTH + 2 * _MARGIN, HEIGHT + 2 * _MARGIN, supersample=1)
        x, y = (
            round(_MARGIN + _PAN * np.sin(speed * time_s / _PAN) + thrown)
            for speed, thrown in zip(self.pan, throw, strict=True)
        )
        return whole[y : y + HEIGHT, x : x + WIDTH].astype(np.float32)


def _bounce(position: float) -> float:
    """A position that is reflected at 0.1 and 0.9."""
    folded = (position - 0.1) % 1.6
    return 0.1 + (folded if folded <= 0.8 else 1.6 - folded)


def _objects(rng: np.random.Generator, count: int) -> tuple[Object, ...]:
    shapes = ("circle", "square", "triangle", "diamond", "ring")
    return tuple(
        Object(shape, color, *rng.uniform(0.3, 0.7, 2), rng.uniform(0.15, 0.3))
        for shape, color in zip(rng.choice(shapes, count), rng.choice(list(COLORS), count), strict=True)
    )


def _background(rng: np.random.Generator, kinds: tuple[str, ...]) -> Background:
    first, second = (str(color) for color in rng.choice(list(COLORS), 2, replace=False))
    period, angle, seed = float(rng.uniform(0.2, 0.4)), float(rng.uniform(0, 180)), int(rng.integers(2**31))
    return Background(str(rng.choice(kinds)), first, second, period=period, angle_deg=angle, seed=seed)


def _filler(rng: np.random.Generator) -> _Filler:
    objects = _objects(rng, int(rng.integers(2, 5)))
    camera = Camera(exposure=float(rng.uniform(0.75, 1.1)))
    drift = rng.uniform(-0.05, 0.05, (len(objects), 2))
    return _Filler(Scene(_background(rng, _CALM_KINDS), objects, camera=camera), drift, tuple(rng.uniform(-12, 12, 2)))


def _special(rng: np.random.Generator, event: Event) -> Callable[[_Filler, float], np.ndarray]:
    """A function (filler, time_s) -> float32 [HEIGHT, WIDTH, 3] that draws the event."""
    match event.kind:
        case "novel":
            scene = Scene(_background(rng, _NOVEL_KINDS), _objects(rng, 3))
            other = _Filler(scene, rng.uniform(-0.05, 0.05, (3, 2)), tuple(rng.uniform(-12, 12, 2)))
            return lambda filler, time_s: other.at(time_s)
        case "shake":
            phases, speeds = rng.uniform(0, 6, 4), rng.uniform(6, 14, 4)

            def shaken(filler: _Filler, time_s: float) -> np.ndarray:
                x, y, z, w = np.sin(speeds * time_s + phases)
                return filler.at(time_s, throw=(_THROW / 2 * (x + z), _THROW / 2 * (y + w)))

            return shaken
        case "burst" | "loud":
            objects = _objects(rng, int(rng.integers(3, 6)))
            speeds = rng.uniform(0.5, 1.2, (len(objects), 2)) * rng.choice([-1, 1], (len(objects), 2))

            def darting(filler: _Filler, time_s: float) -> np.ndarray:
                moved = tuple(
                    replace(o, x=_bounce(o.x + dx * time_s), y=_bounce(o.y + dy * time_s), rotation_deg=200 * time_s)
                    for o, (dx, dy) in zip(objects, speeds, strict=True)
                )
                return filler.at(time_s, more=moved)

            return darting


def _sound(video: EventVideo) -> np.ndarray:
    """float32 [S] at 48 kHz: a soft hum that swells slowly, faint clicks, and noise with beats in loud events."""
    rng = np.random.default_rng([video.seed, 1])
    time_s = np.arange(round(video.duration_s * AUDIO_RATE_HZ)) / AUDIO_RATE_HZ
    swell = 0.02 * (1.0 + 0.5 * np.sin(2 * np.pi * time_s / 17.0 + rng.uniform(0, 6)))
    sound = swell * np.sin(2 * np.pi * 140.0 * time_s) + rng.normal(0, 0.003, len(time_s))
    for click_s in rng.uniform(0, video.duration_s - 0.1, 12):
        start = round(click_s * AUDIO_RATE_HZ)
        sound[start : start + 1200] += rng.normal(0, 0.05, len(sound[start : start + 1200]))
    for event in video.events:
        if event.kind == "loud":
            inside = (time_s >= event.start_s) & (time_s < event.end_s)
            beat = 0.5 + 0.5 * np.square(np.sin(2 * np.pi * 1.5 * time_s[inside]))
            sound[inside] += beat * rng.normal(0, 0.25, inside.sum())
    return np.clip(sound, -1, 1).astype(np.float32)
