"""The demo's video: one minute with sound whose truth is known, drawn and voiced from a table of takes."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from models.training.scenes import Background, Camera, Object, Scene, Text, render
from pipeline.synthesis import AUDIO_RATE_HZ
from serving.truth import TrueEvent, TrueShot, TrueTag, Truth

WIDTH, HEIGHT, FPS = 640, 360, 30

#: Length of a dissolve or a fade, seconds.
TRANSITION_S = 1.0

Animate = Callable[[Scene, float], Scene]
"""(the take's scene, seconds since the take began) -> the scene as it looks then"""


@dataclass(frozen=True, slots=True)
class Take:
    """One shot of the storyboard."""

    label: str
    length_s: float
    scene: Scene
    animate: Animate
    tags: tuple[str, ...]
    """Labels that hold throughout; none for a take too short to be sampled for sure."""
    transition: str = "cut"
    """How it begins: start, cut, dissolve or fade (from black)."""
    event: str = ""
    """What happens that deserves to be a key segment; empty for calm takes."""
    loudness: float = 0.02
    """Amplitude of its hum, 0 to 1; events get hits on top."""


def _drift(scene: Scene, now_s: float) -> Scene:
    """Everything floats slowly, as calm footage does."""
    return replace(
        scene,
        objects=tuple(
            replace(o, x=o.x + 0.04 * math.sin(0.5 * now_s + n), y=o.y + 0.03 * math.cos(0.4 * now_s + n))
            for n, o in enumerate(scene.objects)
        ),
    )


def _burst(scene: Scene, now_s: float) -> Scene:
    """Everything races around and spins."""
    return replace(
        scene,
        objects=tuple(
            replace(
                o,
                x=0.5 + 0.36 * math.sin((5 + n) * now_s + 1.7 * n),
                y=0.5 + 0.3 * math.cos((6 - n) * now_s + n),
                rotation_deg=(180 + 40 * n) * now_s,
            )
            for n, o in enumerate(scene.objects)
        ),
    )


def _hold(scene: Scene, now_s: float) -> Scene:
    return scene


def _one(shape: str, color: str, background: Background, size: float = 0.55) -> Scene:
    return Scene(background, (Object(shape, color, size=size),))


_MANY = tuple(
    Object(shape, color, size=0.34)
    for shape, color in (("star", "yellow"), ("star", "yellow"), ("star", "yellow"), ("star", "yellow"))
)

STORY: tuple[Take, ...] = (
    Take(
        "a red circle drifts",
        8.0,
        _one("circle", "red", Background(color="white")),
        _drift,
        ("red", "circle", "white"),
        transition="start",
    ),
    Take(
        "a title card",
        5.0,
        Scene(Background(color="black"), text=Text(("KEY MOMENTS", "A SHORT FILM"), height=0.18)),
        _hold,
        ("text", "title card", "black"),
    ),
    Take(
        "two blue squares",
        7.0,
        Scene(
            Background(color="gray"),
            (Object("square", "blue", x=0.3, size=0.4), Object("square", "blue", x=0.7, size=0.4)),
        ),
        _drift,
        ("blue", "square", "gray"),
    ),
    Take(
        "a green triangle fades in",
        8.0,
        _one("triangle", "green", Background(color="white")),
        _drift,
        ("green", "triangle", "white"),
        transition="dissolve",
    ),
    Take(
        "a burst of yellow stars",
        6.0,
        Scene(Background(color="purple"), _MANY),
        _burst,
        ("yellow", "star", "purple"),
        event="burst of action",
        loudness=0.12,
    ),
    Take(
        "a checkerboard",
        6.0,
        Scene(Background("checkerboard", color="black", second="white", period=0.3)),
        _hold,
        ("checkerboard", "black", "white"),
    ),
    Take("a flash of an orange ring", 0.5, _one("ring", "orange", Background(color="blue")), _hold, ()),
    Take(
        "a purple heart",
        7.5,
        _one("heart", "purple", Background(color="white")),
        _drift,
        ("purple", "heart", "white"),
    ),
    Take(
        "stripes",
        5.0,
        Scene(Background("stripes", color="green", second="white", period=0.25)),
        _hold,
        ("stripes", "green", "white"),
        transition="dissolve",
    ),
    Take(
        "a pink diamond out of the dark",
        7.0,
        _one("diamond", "pink", Background(color="black")),
        _drift,
        ("pink", "diamond", "black"),
        transition="fade",
    ),
)


def duration_s() -> float:
    """Length of the whole video, seconds."""
    return sum(take.length_s for take in STORY)


def _starts() -> list[float]:
    starts, now = [], 0.0
    for take in STORY:
        starts.append(now)
        now += take.length_s
    return starts


def truth() -> Truth:
    """What is in the video, where."""
    spans = [(start, start + take.length_s, take) for start, take in zip(_starts(), STORY, strict=True)]
    return Truth(
        shots=tuple(
            TrueShot(start_s=start, end_s=end, transition=take.transition, label=take.label)
            for start, end, take in spans
        ),
        events=tuple(TrueEvent(start_s=start, end_s=end, label=take.event) for start, end, take in spans if take.event),
        tags=tuple(TrueTag(label=tag, start_s=start, end_s=end) for start, end, take in spans for tag in take.tags),
    )


def labels() -> tuple[str, ...]:
    """Every label that the truth names, in order of appearance."""
    return tuple(dict.fromkeys(tag.label for tag in truth().tags))


def frames() -> Iterator[np.ndarray]:
    """uint8 [360, 640, 3] RGB, 30 a second. A transition is centred on the border between its takes."""
    starts = _starts()
    total = round(duration_s() * FPS)
    for number in range(total):
        now = number / FPS
        at = max(n for n, start in enumerate(starts) if start <= now + 1e-9)
        yield _grain(_mixed(at, now, starts), number)


def _mixed(at: int, now_s: float, starts: list[float]) -> np.ndarray:
    half = TRANSITION_S / 2
    if now_s < starts[at] + half and STORY[at].transition in ("dissolve", "fade"):
        incoming = at
    elif at + 1 < len(STORY) and now_s >= starts[at + 1] - half and STORY[at + 1].transition in ("dissolve", "fade"):
        incoming = at + 1
    else:
        return _picture(at, now_s, starts)
    share = (now_s - (starts[incoming] - half)) / TRANSITION_S
    before = _picture(incoming - 1, now_s, starts).astype(np.float32)
    after = _picture(incoming, now_s, starts).astype(np.float32)
    if STORY[incoming].transition == "fade":
        # Down to black in the first half, up from it in the second.
        mixed = before * max(0.0, 1 - 2 * share) if share < 0.5 else after * (2 * share - 1)
    else:
        mixed = before * (1 - share) + after * share
    return mixed.astype(np.uint8)


def _picture(at: int, now_s: float, starts: list[float]) -> np.ndarray:
    take = STORY[at]
    scene = take.animate(take.scene, now_s - starts[at])
    return render(replace(scene, camera=Camera()), WIDTH, HEIGHT, supersample=2 if scene.objects or scene.text else 1)


def _grain(picture: np.ndarray, number: int) -> np.ndarray:
    """Film grain of two levels: real footage is never perfectly still."""
    grain = _GRAIN[(number * 7919) % 61 : (number * 7919) % 61 + HEIGHT]
    return np.clip(picture.astype(np.int16) + grain[:, :, None], 0, 255).astype(np.uint8)


_GRAIN = np.random.default_rng(5).integers(-2, 3, (HEIGHT + 61, WIDTH), dtype=np.int16)


def sound() -> np.ndarray:
    """float32 [S] mono at 48 kHz: a hum that changes with every take, and hits wherever something happens."""
    rng = np.random.default_rng(11)
    pieces = []
    for number, take in enumerate(STORY):
        count = round(take.length_s * AUDIO_RATE_HZ)
        time = np.arange(count) / AUDIO_RATE_HZ
        piece = take.loudness * np.sin(2 * math.pi * (110 + 20 * number) * time)
        if take.event:
            beat = time % 0.25
            piece = piece + 0.5 * rng.standard_normal(count) * np.exp(-18 * beat)
        pieces.append(piece)
    return np.clip(np.concatenate(pieces), -0.95, 0.95).astype(np.float32)
