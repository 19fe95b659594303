"""The set that the shot detector is measured on: videos with known boundaries, generated from a seed.

`build(folder, seed)` writes what is missing and returns every video with its truth. The detector was tuned on seed
`TUNED` only; `HELD_OUT` is there to show that it holds elsewhere.
"""

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.corpus.shot_takes import Take, new_take, related_take, render
from pipeline.synthesis import Encoding, write_video

TUNED, HELD_OUT = (1, 2), 3

#: Part of the cached files' names: raise it when the drawing changes.
EDITION = 1


@dataclass(frozen=True, slots=True)
class Transition:
    """A true boundary."""

    time_s: float
    """First frame of the new take for a cut, the middle for a gradual one."""
    kind: str
    """cut, dissolve or fade."""
    length_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Item:
    """One video of the set."""

    name: str
    path: Path
    duration_s: float
    transitions: tuple[Transition, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one video of the set is made."""

    name: str
    suffix: str
    fps: int
    encoding: Encoding
    height: int = 360
    pace_s: float = 3.0
    """Mean length of a take."""
    gradual: float = 0.18
    """Share of boundaries that are gradual."""
    variable: bool = False
    seconds: float = 40.0


def _x264(gop: int, crf: int = 23, preset: str = "veryfast", **options: str) -> Encoding:
    return Encoding("libx264", gop=gop, options={"preset": preset, "crf": str(crf), **options})


def _x265(gop: int, params: str = "") -> Encoding:
    return Encoding(
        "libx265", gop=gop, options={"preset": "veryfast", "crf": "27", "x265-params": f"log-level=error{params}"}
    )


def _vpx(codec: str, gop: int) -> Encoding:
    # libvpx ends single-pass quality mode with `b:v 0`; PyAV would set a rate of its own.
    return Encoding(
        codec, gop=gop, options={"deadline": "realtime", "cpu-used": "7", "crf": "30"}, bit_rate_bps=1_200_000
    )


_NO_SCENE_CUT = {"sc_threshold": "0"}

RECIPES: tuple[Recipe, ...] = (
    Recipe("h264-gop30", ".mp4", 30, _x264(30)),
    Recipe("h264-gop48-fixed-720p", ".mp4", 24, _x264(48, **_NO_SCENE_CUT), height=720, seconds=30),
    Recipe("h264-gop250", ".mp4", 25, _x264(250, preset="medium")),
    Recipe("h264-gop250-calm", ".mkv", 24, _x264(250), pace_s=6.0),
    Recipe("h264-gop250-fixed", ".mp4", 30, _x264(250, **_NO_SCENE_CUT)),
    Recipe("h264-gop60-rapid", ".mp4", 30, _x264(60), pace_s=1.4),
    Recipe("h264-60fps-720p", ".mp4", 60, _x264(120), height=720, seconds=24),
    Recipe(
        "h264-50fps-live", ".ts", 50, _x264(50, preset="superfast", tune="zerolatency", **_NO_SCENE_CUT), seconds=30
    ),
    Recipe("h264-low-rate", ".mp4", 30, _x264(90, crf=35)),
    Recipe("h264-vfr", ".mkv", 30, _x264(120), variable=True),
    Recipe("hevc-gop60", ".mp4", 25, _x265(60)),
    Recipe("hevc-gop250", ".mkv", 30, _x265(250, ":open-gop=1"), pace_s=4.0),
    Recipe("vp9-gop128", ".webm", 30, _vpx("libvpx-vp9", 128)),
    Recipe("vp9-gop60-25fps", ".webm", 25, _vpx("libvpx-vp9", 60), gradual=0.3),
    Recipe("mpeg4-avi", ".avi", 25, Encoding("mpeg4", gop=12, options={"qmin": "3"}, bit_rate_bps=2_000_000)),
    Recipe("mpeg4-avi-gop250", ".avi", 30, Encoding("mpeg4", gop=250, b_frames=2, bit_rate_bps=2_000_000)),
    Recipe("mpeg2-ts", ".ts", 25, Encoding("mpeg2video", gop=15, b_frames=2, bit_rate_bps=3_000_000), gradual=0.3),
    Recipe(
        "mjpeg",
        ".mov",
        24,
        Encoding("mjpeg", pixel_format="yuvj420p", options={"q": "5"}, bit_rate_bps=8_000_000),
        seconds=24,
    ),
)


@dataclass(frozen=True, slots=True)
class _Span:
    """A take and the frames [first, last) over which some of it shows."""

    take: Take
    start_s: float
    length_s: float


def _plan(
    rng: np.random.Generator, recipe: Recipe, times: np.ndarray, width: int
) -> tuple[list[_Span], list[Transition]]:
    """Takes one after the other, and the boundaries between them, snapped to frames."""
    duration = float(times[-1] + 1 / recipe.fps)
    moments: list[Transition] = []
    clock = 0.0
    while True:
        clock += float(np.clip(rng.lognormal(np.log(recipe.pace_s * 0.8), 0.6), 0.5, 4 * recipe.pace_s))
        gradual = rng.random() < recipe.gradual
        kind = str(rng.choice(["dissolve", "fade", "fade white"], p=(0.6, 0.28, 0.12))) if gradual else "cut"
        length = float(rng.uniform(0.35, 1.5) if kind == "dissolve" else rng.uniform(0.5, 2.0)) if gradual else 0.0
        if clock + length + 1.0 > duration:
            break
        if not gradual:
            first = int(np.searchsorted(times, clock))
            moments.append(Transition(float(times[first]), "cut"))
            if rng.random() < 0.12 and clock + 2.5 < duration:  # a quick insert: two cuts half a second apart
                clock += float(rng.uniform(0.4, 0.65))
                moments.append(Transition(float(times[int(np.searchsorted(times, clock))]), "cut"))
        else:
            clock += 0.3
            moments.append(Transition(clock + length / 2, kind, length))
            clock += length + 0.3
    edges = [0.0, *(m.time_s for m in moments), duration]
    spans: list[_Span] = []
    for number, (start, end) in enumerate(pairwise(edges)):
        before = moments[number - 1].length_s / 2 if number else 0.0
        after = moments[number].length_s / 2 if number < len(moments) else 0.0
        length = end - start + before + after
        args = (rng, recipe.height, width, length if not (before or after) else 1.0)
        related = number > 0 and rng.random() < 0.3
        take = related_take(args[0], spans[-1].take, *args[1:]) if related else new_take(*args)
        spans.append(_Span(take, start - before, length))
    return spans, moments


def _frames(rng: np.random.Generator, recipe: Recipe, spans, moments, times: np.ndarray, width: int):
    """uint8 [height, width, 3] each, in order."""
    shape = (recipe.height, width)
    tiles = [rng.standard_normal((shape[0] + 64, shape[1] + 64, 3)).astype(np.float32) for _ in range(3)]
    opens_black, closes_black = rng.random() < 0.3, rng.random() < 0.3
    for t in times:
        number = sum(1 for m in moments if t >= m.time_s - 1e-6)
        near = [(i, m) for i, m in enumerate(moments) if m.length_s and abs(t - m.time_s) < m.length_s / 2]

        def view(span: _Span, now: float = float(t)) -> np.ndarray:
            return render(span.take, now - span.start_s, recipe.fps, *shape, rng, span.length_s)

        grain = spans[number].take.grain
        if near:
            index, moment = near[0]
            share = (t - moment.time_s) / moment.length_s + 0.5
            if moment.kind == "dissolve":
                picture = (1 - share) * view(spans[index]) + share * view(spans[index + 1])
            else:
                level = 255.0 if moment.kind.endswith("white") else 0.0
                visible = np.clip((abs(share - 0.5) * 2 - 0.1) / 0.9, 0, 1)  # a tenth of it is the bare colour
                picture = level + visible * (view(spans[index if share < 0.5 else index + 1]) - level)
                grain *= visible
        else:
            picture = view(spans[number])
        if opens_black:
            picture *= min(1.0, t / 0.8)
        if closes_black:
            picture *= np.clip((times[-1] - t) / 0.8, 0, 1)
        if grain:
            y, x = rng.integers(0, 64, 2)
            picture = picture + grain * tiles[int(rng.integers(3))][y : y + shape[0], x : x + shape[1]]
        yield np.clip(picture, 0, 255).astype(np.uint8)


def _times(rng: np.random.Generator, recipe: Recipe) -> np.ndarray:
    """float64 [N], seconds. Variable: in runs, two of three frames are missing, as in screen recordings."""
    times = np.arange(round(recipe.seconds * recipe.fps)) / recipe.fps
    if not recipe.variable:
        return times
    slow = np.repeat(rng.random(len(times) // 45 + 1) < 0.4, 45)[: len(times)]
    keep = ~slow | (np.arange(len(times)) % 3 == 0)
    shaken = (times + rng.uniform(0, 0.3 / recipe.fps, len(times)))[keep]
    return np.round((shaken - shaken[0]) * 1000) / 1000


def build(folder: Path, seed: int, recipes: tuple[Recipe, ...] = RECIPES) -> list[Item]:
    """Every video of the set for `seed`; those already in `folder` are taken from there."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number, recipe in enumerate(recipes):
        path = folder / f"e{EDITION}-s{seed}-{recipe.name}{recipe.suffix}"
        truth = path.with_suffix(".json")
        if not truth.exists():
            rng = np.random.default_rng([EDITION, seed, number])
            width = recipe.height * 16 // 9
            times = _times(rng, recipe)
            spans, moments = _plan(rng, recipe, times, width)
            frames = _frames(rng, recipe, spans, moments, times, width)
            write_video(
                path, frames, fps=recipe.fps, encoding=recipe.encoding, times_s=times if recipe.variable else None
            )
            rows = [{**asdict(m), "kind": m.kind.split()[0]} for m in moments]
            truth.write_text(json.dumps({"duration_s": float(times[-1] + 1 / recipe.fps), "transitions": rows}))
        record = json.loads(truth.read_text())
        moments = tuple(Transition(**row) for row in record["transitions"])
        items.append(Item(recipe.name, path, record["duration_s"], moments))
    return items
