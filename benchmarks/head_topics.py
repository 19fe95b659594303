"""Labels that the words of the bundled model cannot say, and clips that show them or do not, for `benchmarks.heads`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from models.base import Encoder
from models.training.examples import REJECTED, SHOWN, Examples
from models.training.sampling import SEEN_PAIRS, Pair, sample_scene
from models.training.scenes import Scene, render

FRAMES: Final = 4
"""Of a clip."""
SIZE, UNSEEN_SIZE = (192, 108), (256, 144)
"""Pixels."""

ONE, ANY = ("one",), ("one", "copies", "mixed")
WARNING: tuple[Pair, ...] = tuple((c, s) for c in ("yellow", "orange") for s in ("triangle", "diamond"))


@dataclass(frozen=True, slots=True)
class Topic:
    """A label, and which scenes show it."""

    label: str
    words: tuple[str, ...]
    """The nearest that the encoder's own words come to it."""
    shows: Callable[[Scene], bool | None]
    """None: neither."""
    kinds: tuple[str, ...] = ONE
    """Of scenes."""
    pairs: tuple[Pair, ...] = SEEN_PAIRS
    """What scenes that show it are drawn from."""
    goal: bool = True
    """Whether the goals are for it; else it is here to show where heads end."""


def _lying(scene: Scene) -> bool | None:
    """Whether stripes lie (true) or stand (false); what else there is, is neither."""
    turn_deg = abs(scene.background.angle_deg % 180.0 - 90.0)
    return None if scene.background.kind != "stripes" or 30.0 < turn_deg < 60.0 else turn_deg <= 30.0


TOPICS: Final[Mapping[str, Topic]] = {
    "warm": Topic(
        "warm colours",
        ("a red object", "an orange object", "a yellow object"),
        lambda scene: any(one.color in ("red", "orange", "yellow") for one in scene.objects),
    ),
    "round": Topic(
        "something round",
        ("a circle", "a ring", "a crescent"),
        lambda scene: any(one.shape in ("circle", "ring", "crescent") for one in scene.objects),
    ),
    "warning": Topic(
        "warning sign",
        tuple(f"a {color} {shape}" for color, shape in WARNING),
        lambda scene: any((one.color, one.shape) in WARNING for one in scene.objects),
        pairs=WARNING,
    ),
    "dull": Topic(
        "dull colours",
        ("a gray object", "a brown object", "a black object"),
        lambda scene: all(one.color in ("gray", "brown", "black") for one in scene.objects),
    ),
    "stripes": Topic("stripes that lie", ("horizontal stripes", "stripes", "lines"), _lying, kinds=("texture",)),
    "alone": Topic(
        "a single object",
        ("a single object", "exactly one object", "one object"),
        lambda scene: len(scene.objects) == 1,
        kinds=("one", "mixed"),
        goal=False,
    ),
    "colourful": Topic(
        "a colourful mix",
        ("many objects", "many shapes"),
        lambda scene: len({one.color for one in scene.objects}) > 1,
        kinds=ANY,
        goal=False,
    ),
    "crowd": Topic(
        "a crowd", ("many objects", "many shapes"), lambda scene: len(scene.objects) > 3, kinds=ANY, goal=False
    ),
}


@dataclass(frozen=True, slots=True)
class Clip:
    """A short video of a scene."""

    shows: bool
    frames: tuple[Scene, ...]


def clips(topic: Topic, count: int, *, seed: int) -> list[Clip]:
    """`count` that show it, and as many that do not."""
    rng = np.random.default_rng(seed)
    out = []
    for wanted in (True, False):
        found = 0
        while found < count:
            pairs = topic.pairs if wanted else SEEN_PAIRS
            try:
                scene = sample_scene(rng, pairs=pairs, kind=str(rng.choice(topic.kinds)))
            except ValueError:  # none of few pairs can be seen on the background that was drawn
                continue
            clear = 0.6 <= scene.camera.exposure <= 1.3 and scene.camera.blur <= 0.01
            if clear and topic.shows(scene) == wanted:
                out.append(Clip(wanted, tuple(_later(scene, step) for step in range(FRAMES))))
                found += 1
    return out


def vectors(encoder: Encoder, videos: Sequence[Clip], size: tuple[int, int]) -> np.ndarray:
    """float32 [clips x FRAMES, D]."""
    frames = [render(scene, *size) for video in videos for scene in video.frames]
    return np.concatenate([encoder.run(np.stack(frames[at : at + 64])) for at in range(0, len(frames), 64)])


def truth_of(videos: Sequence[Clip]) -> np.ndarray:
    """bool [clips x FRAMES]."""
    return np.repeat([video.shows for video in videos], FRAMES)


def examples_of(topic: Topic, encoder: Encoder, videos: Sequence[Clip]) -> Examples:
    """Accepted and rejected examples, one a clip."""
    number = np.repeat(np.arange(len(videos)), FRAMES)
    truth = np.where(truth_of(videos), SHOWN, REJECTED).astype(np.int8)
    return Examples((topic.label,), vectors(encoder, videos, SIZE), truth[:, None], number[:, None], number)


def _later(scene: Scene, step: int) -> Scene:
    moved = (replace(one, x=min(0.9, one.x + 0.02 * step), y=min(0.9, one.y + 0.01 * step)) for one in scene.objects)
    return replace(scene, objects=tuple(moved), camera=replace(scene.camera, seed=scene.camera.seed + step))
