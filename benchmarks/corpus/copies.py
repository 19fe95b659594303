"""A library with copies in it: films, partial and altered copies of some of them, and many films that only look alike.

Everything is drawn from a seed. All films share one renderer; some show the places of another film with other things
in them, some stand still, some begin and end in black, so that a copy is not found by its colours alone.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal, get_args

import av
import cv2
import numpy as np

from benchmarks.corpus.shot_takes import Take, new_take, related_take, render
from models.training import scenes
from models.training.sampling import sample_scene
from pipeline.synthesis import Encoding, write_video

EDITION = 1
"""Part of the cached files' names: raise it when the drawing changes."""

WIDTH, HEIGHT, FPS, OTHER_FPS = 256, 144, 8, 3
"""Size and rate of films; those of which there is no copy are only ever sampled, and written at the lower rate."""

Style = Literal["takes", "leader", "shapes", "still", "related"]
"""`takes`: several cameras. `leader`: the same between black, with fades. `shapes`: drifting shapes, which the bundled
model knows. `still`: one or two pictures that hardly move. `related`: the places of another film in another order,
with other things in them or other framings."""

Change = Literal["reencode", "scale", "crop", "trim", "logo", "intro", "speed"]
CHANGES: tuple[Change, ...] = get_args(Change)

_ENCODING = Encoding(gop=48, options={"preset": "veryfast", "crf": "25"})
_ROUGH = (
    (".mp4", Encoding(gop=96, options={"preset": "veryfast", "crf": "38"})),
    (".avi", Encoding("mpeg4", gop=12, bit_rate_bps=120_000)),
    (
        ".mkv",
        Encoding("libx265", gop=60, options={"preset": "ultrafast", "crf": "34", "x265-params": "log-level=error"}),
    ),
)


@dataclass(frozen=True, slots=True)
class Film:
    """How a film is drawn."""

    name: str
    seed: int
    style: Style
    of: int | None = None
    """Of a `related` film: the seed of the other one."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy, and its truth: it shows [start_s, end_s) of its film from `intro_s` on, `speed` times as fast."""

    name: str
    film: str
    seed: int
    changes: tuple[Change, ...]
    start_s: float
    end_s: float
    intro_s: float
    speed: float


@dataclass(frozen=True, slots=True)
class Library:
    """Films, and copies of the first of them."""

    films: tuple[tuple[Film, Path], ...]
    copies: tuple[tuple[Copy, Path], ...]


def recipes(seed: int, copied: int, others: int) -> tuple[Film, ...]:
    """The first `copied` films are those of which there are copies."""
    rng = np.random.default_rng([EDITION, seed])
    seeds = rng.integers(2**31, size=copied + others)
    own: tuple[Style, ...] = ("takes", "leader", "shapes")
    films = [Film(f"film-{n:04d}", int(seeds[n]), own[rng.choice(3, p=(0.7, 0.15, 0.15))]) for n in range(copied)]
    every: tuple[Style, ...] = ("takes", "leader", "shapes", "still", "related")
    for n in range(copied, copied + others):
        style = every[rng.choice(5, p=(0.5, 0.12, 0.13, 0.1, 0.15))]
        of = films[int(rng.integers(copied))]
        if style == "related" and of.style == "shapes":
            style = "shapes"
        films.append(Film(f"film-{n:04d}", int(seeds[n]), style, of.seed if style == "related" else None))
    return tuple(films)


def written(folder: Path, film: Film, fps: int = FPS) -> Path:
    """The film as MP4, drawn where it is not there yet."""
    path = folder / f"{film.name}-{film.seed}-{film.style}-{fps}.mp4"
    if not path.exists():
        write_video(path.with_suffix(".part.mp4"), _frames(film, fps), fps=fps, encoding=_ENCODING).rename(path)
    return path


# --- films ----------------------------------------------------------------------------------------------------------


def _frames(film: Film, fps: int, most_s: float = 60.0) -> Iterator[np.ndarray]:
    """uint8 [HEIGHT, WIDTH, 3] each."""
    rng = np.random.default_rng(film.seed)
    if film.style == "shapes":
        yield from _shapes(rng, fps, most_s)
        return
    grain = np.random.default_rng([film.seed, 1]).standard_normal((3, HEIGHT, WIDTH, 1)).astype(np.float32)
    black_s = float(rng.uniform(1.0, 4.0)) if film.style == "leader" else 0.0
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    yield from [black] * round(black_s * fps)
    for take, length_s in _takes(film):
        for number in range(max(1, round(min(length_s, most_s) * fps))):
            at_s = number / fps
            picture = render(take, at_s, fps, HEIGHT, WIDTH, rng, length_s)
            if film.style == "leader":
                picture *= min(1.0, at_s / 0.5, max(0.0, (length_s - at_s) / 0.5))
            yield np.clip(picture + take.grain * grain[number % 3], 0, 255).astype(np.uint8)
        most_s -= length_s
        if most_s <= 0:
            return
    yield from [black] * round(black_s * fps)


def _takes(film: Film) -> Iterator[tuple[Take, float]]:
    """Takes and their lengths, seconds."""
    rng = np.random.default_rng([film.seed, 2])
    if film.style == "related":
        theirs = [take for take, _ in _takes(Film("", film.of or 0, "takes"))]
        for number in rng.permutation(len(theirs)):
            length_s = _length_s(rng)
            yield related_take(rng, theirs[number], HEIGHT, WIDTH, length_s), length_s
        return
    if film.style == "still":
        for length_s in rng.uniform(12, 30, int(rng.integers(1, 3))):
            take = new_take(rng, HEIGHT, WIDTH, 1.0)
            yield replace(take, camera="still", sprites=take.sprites[:1]), float(length_s)
        return
    remaining_s = float(rng.uniform(26, 48))
    before: Take | None = None
    while remaining_s > 1.0:
        length_s = min(_length_s(rng), remaining_s)
        if before is not None and rng.random() < 0.25:
            before = related_take(rng, before, HEIGHT, WIDTH, length_s)
        else:
            before = new_take(rng, HEIGHT, WIDTH, length_s)
        yield before, length_s
        remaining_s -= length_s


def _length_s(rng: np.random.Generator) -> float:
    return float(np.clip(rng.lognormal(np.log(4.0), 0.6), 1.2, 12.0))


def _shapes(rng: np.random.Generator, fps: int, most_s: float) -> Iterator[np.ndarray]:
    remaining_s = min(most_s, float(rng.uniform(26, 48)))
    while remaining_s > 1.0:
        length_s = min(_length_s(rng), remaining_s)
        scene = sample_scene(rng)
        drift = rng.uniform(-0.06, 0.06, (len(scene.objects), 2))
        for number in range(round(length_s * fps)):
            moved = [
                replace(
                    item,
                    x=float(np.clip(item.x + dx * number / fps, 0, 1)),
                    y=float(np.clip(item.y + dy * number / fps, 0, 1)),
                )
                for item, (dx, dy) in zip(scene.objects, drift, strict=True)
            ]
            yield scenes.render(replace(scene, objects=tuple(moved)), WIDTH, HEIGHT, supersample=1)
        remaining_s -= length_s


# --- copies ---------------------------------------------------------------------------------------------------------


def copied(folder: Path, film: Film, source: Path, number: int) -> tuple[Copy, Path]:
    """A copy of a film, drawn where it is not there yet: one change each in turn, every other one several."""
    rng = np.random.default_rng([film.seed, 3])
    single = number % 2 == 0
    several = rng.choice(len(CHANGES), int(rng.integers(2, 5)), replace=False) if not single else ()
    chosen = {number // 2 % len(CHANGES)} if single else {int(one) for one in several}
    changes: tuple[Change, ...] = tuple(CHANGES[place] for place in sorted(chosen))
    with av.open(str(source)) as container:
        length_s = container.streams.video[0].frames / FPS
    start_s, end_s = 0.0, length_s
    if "trim" in changes:
        kept_s = max(12.0, length_s * float(rng.uniform(0.4, 0.8)))
        start_s = round(float(rng.uniform(0, length_s - kept_s)) * FPS) / FPS
        end_s = start_s + round(kept_s * FPS) / FPS
    intro_s = round(float(rng.uniform(5, 30)) * FPS) / FPS if "intro" in changes else 0.0
    speed = float(rng.uniform(0.95, 1.05)) if "speed" in changes else 1.0
    copy = Copy(f"copy-{number:04d}", film.name, film.seed, changes, start_s, end_s, intro_s, speed)
    suffix, encoding = _ROUGH[int(rng.integers(len(_ROUGH)))] if "reencode" in changes else (".mp4", _ENCODING)
    path, truth = folder / f"{copy.name}-{copy.seed}{suffix}", folder / f"{copy.name}-{copy.seed}.json"
    if not path.exists():
        unfinished = path.with_suffix(f".part{suffix}")
        frames = list(_altered(copy, source, rng))
        shown = round(copy.intro_s * FPS)
        times_s = [n / FPS if n < shown else copy.intro_s + (n - shown) / (FPS * speed) for n in range(len(frames))]
        # AVI has no times of its own: what plays faster has another rate.
        plain = speed == 1.0 or suffix == ".avi"
        fps = Fraction(FPS * speed).limit_denominator(1000) if plain else Fraction(FPS)
        if suffix == ".avi" and intro_s and speed != 1.0:
            copy = replace(copy, intro_s=shown / (FPS * speed))
        write_video(unfinished, frames, fps=fps, encoding=encoding, times_s=None if plain else times_s).rename(path)
        truth.write_text(json.dumps(asdict(copy)))
    stored = json.loads(truth.read_text())
    return Copy(**stored | {"changes": tuple(stored["changes"])}), path


def _altered(copy: Copy, source: Path, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """uint8 frames of the copy, the intro first."""
    height, width = HEIGHT, WIDTH
    if "scale" in copy.changes:
        factor = float(rng.choice([0.5, 0.75, 1.5, 2.0]))
        height, width = round(HEIGHT * factor / 2) * 2, round(WIDTH * factor / 2) * 2
    top, left = (round(float(rng.uniform(0, 0.1)) * side) for side in (HEIGHT, WIDTH))
    logo = _logo(rng)
    if copy.intro_s:
        intro = Film("", int(rng.integers(2**31)), "takes")
        for number, picture in enumerate(_frames(intro, FPS, copy.intro_s)):
            if number < round(copy.intro_s * FPS):
                yield cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    with av.open(str(source)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if not copy.start_s <= number / FPS < copy.end_s:
                continue
            picture = frame.to_ndarray(format="rgb24")
            if "crop" in copy.changes:
                picture = picture[top : top + round(0.9 * HEIGHT), left : left + round(0.9 * WIDTH)]
            if picture.shape[:2] != (height, width):
                picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
            if "logo" in copy.changes:
                logo(picture)
            yield picture


def _logo(rng: np.random.Generator):
    """A function that puts a channel's sign into a corner of a picture."""
    share, right, low = float(rng.uniform(0.12, 0.2)), rng.random() < 0.5, rng.random() < 0.5
    ground, ink = (tuple(int(level) for level in rng.integers(0, 256, 3)) for _ in range(2))

    def draw(picture: np.ndarray) -> None:
        height, width = picture.shape[:2]
        w, h, edge = round(share * width), round(share * height), round(0.04 * height)
        x, y = (width - edge - w if right else edge), (height - edge - h if low else edge)
        cv2.rectangle(picture, (x, y), (x + w, y + h), ground, -1)
        cv2.circle(picture, (x + w // 4, y + h // 2), h // 3, ink, -1)
        cv2.putText(picture, "TV", (x + w // 2, y + 3 * h // 4), cv2.FONT_HERSHEY_SIMPLEX, h / 45, ink, 1)

    return draw
