"""Measuring a bundled model on renders it never saw."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from models.training.backgrounds import TEXTURES
from models.training.batches import shrink, truth_table
from models.training.bundle import Bundle
from models.training.calibrate import embed_frames, embed_texts
from models.training.captions import FOREIGN_WORDS, PHRASES, Caption, with_article
from models.training.facts import ANY, FALSE, TRUE, answers, fact
from models.training.outlines import SHAPES
from models.training.sampling import ALL_PAIRS, SEEN_PAIRS, UNSEEN_PAIRS, Pair, sample_scene
from models.training.scenes import COLORS, Scene, render

REPORTED = 0.5
"""Probability from which a label counts as reported."""

STRANGERS = (
    "a zebra", "a violin", "volcano", "a helicopter", "spaghetti", "a lighthouse", "kangaroo", "a wizard",
    "skateboard", "an umbrella", "the eiffel tower", "surfing", "a penguin", "traffic lights", "a red fox",
    "a blue whale", "graffiti", "a waterfall", "people shaking hands", "a birthday",
)  # fmt: skip
"""Labels that training never mentioned, not even as foreign words."""

_SIZES = ((320, 180), (320, 180), (256, 192), (192, 192))


def measure(bundle: Bundle, *, seed: int, scenes: int = 1000) -> dict[str, Any]:
    """All figures of a model: shares in 0-1, except where the name carries a unit. More `scenes`, less noise."""
    rng = np.random.default_rng(seed)
    return {
        "seed": seed,
        "scenes": scenes,
        **_single_objects(bundle, rng, scenes),
        **_counts(bundle, rng, scenes // 2),
        "texture": _textures(bundle, rng, scenes // 2),
        **_reports(bundle, rng, scenes),
        **_videos(bundle, rng, scenes // 10),
        "throughput_images_per_s": _throughput(bundle, rng),
    }


def labels() -> list[Caption]:
    """The labels asked for when false reports are counted: every known kind, as a user would type them."""
    out = [Caption(f"{color} object", (fact("object", color, ANY, ANY, "some"),)) for color in COLORS]
    out += [Caption(shape, (fact("object", ANY, shape, ANY, "some"),)) for shape in SHAPES]
    out += [Caption(f"a {c} {s}", (fact("object", c, s, ANY, "some"),)) for c, s in ALL_PAIRS]
    out += [Caption(texts[0].format(""), (fact("kind", kind),)) for kind, texts in _TEXTURE_LABELS.items()]
    out += [Caption(texts[0], (fact(*name),)) for name, texts in PHRASES.items() if name[0] != "background"]
    return out


_TEXTURE_LABELS = {
    "stripes": ("stripes",),
    "checkerboard": ("a checkerboard",),
    "dots": ("polka dots",),
    "grid": ("a grid",),
    "waves": ("waves",),
}


def _frames(bundle: Bundle, scenes: Sequence[Scene], rng: np.random.Generator) -> torch.Tensor:
    """Embeddings of scenes drawn properly, at sizes and with smoothing that training did not use."""
    sizes = [_SIZES[int(rng.integers(len(_SIZES)))] for _ in scenes]
    side = bundle.config.image_size
    pixels = [shrink(render(scene, *size), side) for scene, size in zip(scenes, sizes, strict=True)]
    return embed_frames(bundle.model, np.stack(pixels), bundle.config)


def _texts(bundle: Bundle, texts: Sequence[str]) -> torch.Tensor:
    return embed_texts(bundle.model, bundle.tokenizer, list(texts))


@torch.no_grad()
def probabilities(bundle: Bundle, images: torch.Tensor, texts: torch.Tensor) -> np.ndarray:
    """Calibrated probability of each label for each image, from unit embeddings: float32 [images, texts]."""
    model = bundle.model
    return torch.sigmoid(model.logit_scale.exp() * images @ texts.T + model.logit_bias).numpy()


def _clear_scenes(rng: np.random.Generator, count: int, pairs: Sequence[Pair], kind: str) -> list[Scene]:
    """Scenes whose first object is clearly there: not in the dark, not blurred away."""
    out: list[Scene] = []
    while len(out) < count:
        scene = sample_scene(rng, pairs=pairs, kind=kind)
        first = scene.objects[0]
        if answers(scene)[fact("object", first.color, first.shape, ANY, "some")] == TRUE:
            out.append(scene)
    return out


def _single_objects(bundle: Bundle, rng: np.random.Generator, count: int) -> dict[str, float]:
    by_color = _texts(bundle, [with_article(f"{color} object") for color in COLORS])
    by_shape = _texts(bundle, [with_article(shape) for shape in SHAPES])
    grid = _texts(bundle, [with_article(f"{color} {shape}") for color, shape in ALL_PAIRS])
    out: dict[str, float] = {}
    for name, pairs in (("seen", SEEN_PAIRS), ("unseen", UNSEEN_PAIRS)):
        scenes = _clear_scenes(rng, count, pairs, "one")
        images = _frames(bundle, scenes, rng)
        truth = [(s.objects[0].color, s.objects[0].shape) for s in scenes]
        colors = [list(COLORS)[i] for i in (images @ by_color.T).argmax(dim=1)]
        shapes = [SHAPES[i] for i in (images @ by_shape.T).argmax(dim=1)]
        picked = [ALL_PAIRS[i] for i in (images @ grid.T).argmax(dim=1)]
        suffix = "" if name == "seen" else "_of_unseen_pairs"
        out["color" + suffix] = _share(a == b[0] for a, b in zip(colors, truth, strict=True))
        out["shape" + suffix] = _share(a == b[1] for a, b in zip(shapes, truth, strict=True))
        out[f"{name}_pairs"] = _share(a == b for a, b in zip(picked, truth, strict=True))
    return out


def _counts(bundle: Bundle, rng: np.random.Generator, count: int) -> dict[str, float]:
    """How often the right one of "one circle" ... "five circles" wins, and how often it is off by one at most."""
    words = ("one", "two", "three", "four", "five")
    scenes = [s for s in _clear_scenes(rng, 2 * count, SEEN_PAIRS, "copies") if len(s.objects) <= 5][:count]
    images = _frames(bundle, scenes, rng)
    table = _texts(bundle, [f"{w} {s}{'s' * (i > 0)}" for s in SHAPES for i, w in enumerate(words)])
    scores = (images @ table.T).view(len(scenes), len(SHAPES), len(words))
    picked = [int(row[SHAPES.index(s.objects[0].shape)].argmax()) + 1 for row, s in zip(scores, scenes, strict=True)]
    off = [abs(n - len(s.objects)) for n, s in zip(picked, scenes, strict=True)]
    return {"count": _share(n == 0 for n in off), "count_within_one": _share(n <= 1 for n in off)}


def _textures(bundle: Bundle, rng: np.random.Generator, count: int) -> float:
    scenes: list[Scene] = []
    while len(scenes) < count:
        scene = sample_scene(rng, kind="texture")
        if answers(scene)[fact("kind", scene.background.kind)] == TRUE:
            scenes.append(scene)
    table = _texts(bundle, [_TEXTURE_LABELS[kind][0] for kind in TEXTURES])
    picked = (_frames(bundle, scenes, rng) @ table.T).argmax(dim=1)
    return _share(TEXTURES[i] == s.background.kind for i, s in zip(picked, scenes, strict=True))


def _reports(bundle: Bundle, rng: np.random.Generator, count: int) -> dict[str, Any]:
    """What is reported at `REPORTED`: of what is there (recall), and of what is not (false reports)."""
    asked = labels()
    scenes = [sample_scene(rng, pairs=ALL_PAIRS if i % 4 == 0 else SEEN_PAIRS) for i in range(count)]
    truth = truth_table(np.stack([answers(s) for s in scenes]), asked)
    images = _frames(bundle, scenes, rng)
    p = probabilities(bundle, images, _texts(bundle, [c.text for c in asked]))
    strange = probabilities(bundle, images, _texts(bundle, [*STRANGERS, *FOREIGN_WORDS]))
    per_label: dict[str, dict[str, float]] = {}
    for i, caption in enumerate(asked):
        there, absent = p[truth[:, i] == TRUE, i], p[truth[:, i] == FALSE, i]
        if len(there) >= 5 and (len(caption.text.split()) < 3 or caption.text not in _PAIR_TEXTS):
            per_label[caption.text] = {"recall": _share(there >= REPORTED), "false": _share(absent >= REPORTED)}
    said = p >= REPORTED
    return {
        "recall": _share(said[truth == TRUE]),
        "precision": _share(truth[said & (truth != 0)] == TRUE),
        "false_reports_image": _share(said[truth == FALSE]),
        "false_reports_image_unknown_words": _share((strange[:, len(STRANGERS) :] >= REPORTED).ravel()),
        "false_reports_image_never_heard_words": _share((strange[:, : len(STRANGERS)] >= REPORTED).ravel()),
        "labels": per_label,
    }


_PAIR_TEXTS = frozenset(f"a {color} {shape}" for color, shape in ALL_PAIRS)


def _videos(bundle: Bundle, rng: np.random.Generator, count: int) -> dict[str, float]:
    """False reports over short videos of moving objects: by the mean over the frames, and by their highest peak."""
    asked = labels()
    table = _texts(bundle, [c.text for c in asked])
    mean_false, peak_false, mean_found = [], [], []
    for _ in range(count):
        scenes = _moving(rng)
        truth = truth_table(np.stack([answers(s) for s in scenes]), asked)
        p = probabilities(bundle, _frames(bundle, scenes, rng), table)
        absent, there = (truth == FALSE).all(axis=0), (truth == TRUE).all(axis=0)
        mean_false += list(p.mean(axis=0)[absent] >= REPORTED)
        peak_false += list(p.max(axis=0)[absent] >= REPORTED)
        mean_found += list(p.mean(axis=0)[there] >= REPORTED)
    return {
        "false_reports_video": _share(mean_false),
        "false_reports_video_peak": _share(peak_false),
        "recall_video": _share(mean_found),
    }


def _moving(rng: np.random.Generator, frames: int = 12) -> list[Scene]:
    first = sample_scene(rng)
    speeds = rng.uniform(-0.25, 0.25, (len(first.objects), 2))
    out = []
    for t in np.linspace(0.0, 1.0, frames):
        moved = [
            replace(o, x=float(np.clip(o.x + t * dx, 0.12, 0.88)), y=float(np.clip(o.y + t * dy, 0.12, 0.88)))
            for o, (dx, dy) in zip(first.objects, speeds, strict=True)
        ]
        out.append(replace(first, objects=tuple(moved), camera=replace(first.camera, seed=int(t * 1000))))
    return out


def _throughput(bundle: Bundle, rng: np.random.Generator, images: int = 512) -> float:
    side = bundle.config.image_size
    frames = rng.integers(0, 256, (images, side, side, 3), dtype=np.uint8)
    embed_frames(bundle.model, frames[:64], bundle.config)
    start = time.perf_counter()
    embed_frames(bundle.model, frames, bundle.config)
    return round(images / (time.perf_counter() - start), 1)


def _share(flags: Any) -> float:
    """Share of true values, 0 when there are none."""
    values = np.fromiter(flags, dtype=bool)
    return round(float(values.mean()), 4) if values.size else 0.0
