"""The model card: what the bundled model knows, how well, and what it does not."""

from __future__ import annotations

import platform
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import PIL
import torch

from models.training.bundle import WEIGHTS_FILE, write_json
from models.training.captions import COUNT_WORDS, PHRASES, SIZE_WORDS, TEXTURE_PHRASES, known_words
from models.training.outlines import SHAPES
from models.training.scenes import COLORS, HELD_OUT
from models.training.train import TrainingConfig

CARD_FILE = "card.json"
README_FILE = "MODEL_CARD.md"


def environment() -> dict[str, Any]:
    """Versions and hardware that figures were measured with."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "open_clip": open_clip.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "cpu": _cpu_name(),
        "threads": torch.get_num_threads(),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def write_card(directory: Path, figures: dict[str, Any], *, config: TrainingConfig, training: dict[str, Any]) -> None:
    """Write `card.json` and `MODEL_CARD.md` from measured figures and the story of the training."""
    card = {
        "name": "bundled",
        "training": training
        | {
            "seed": config.seed,
            "images_per_step": config.images * config.shards,
            "learning_rate": config.learning_rate,
            "held_out_pairs": sorted(f"{color} {shape}" for color, shape in HELD_OUT),
        },
        "figures": figures,
        "image_size": config.image_size,
        "weights_bytes": (directory / WEIGHTS_FILE).stat().st_size,
        "environment": environment(),
    }
    write_json(directory / CARD_FILE, card)
    (directory / README_FILE).write_text(_markdown(card))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _markdown(card: dict[str, Any]) -> str:
    figures, training, env = card["figures"], card["training"], card["environment"]
    rows = [
        ("Colour of a single object (12 to choose from)", "color", "95 %"),
        ("Shape of a single object (10 to choose from)", "shape", "90 %"),
        ("Colour and shape together, pairs seen in training (120 to choose from)", "seen_pairs", ""),
        ("Colour and shape together, **pairs never seen nor named in training** (120)", "unseen_pairs", "80 %"),
        ("Count, one to five", "count", ""),
        ("Count, off by one at most", "count_within_one", ""),
        ("Texture (5 to choose from)", "texture", ""),
        ("Present labels that are reported, images", "recall", ""),
        ("Reported labels that are right, images", "precision", ""),
        ("Absent labels that are reported, images", "false_reports_image", "at most 5 %"),
        ("Absent labels that are reported, videos, mean over the frames", "false_reports_video", "at most 5 %"),
        ("Absent labels that are reported, videos, highest frame", "false_reports_video_peak", "at most 5 %"),
        ("Foreign words heard in training that are reported", "false_reports_image_unknown_words", "at most 5 %"),
        ("Foreign words never heard that are reported", "false_reports_image_never_heard_words", "at most 5 %"),
    ]
    table = "\n".join(f"| {label} | {_percent(figures[key])} | {goal} |" for label, key, goal in rows)
    per_label = "\n".join(
        f"| {name} | {_percent(row['recall'])} | {_percent(row['false'])} |" for name, row in figures["labels"].items()
    )
    textures = ", ".join(texts[0].format("") for texts in TEXTURE_PHRASES.values())
    phrases = ", ".join(texts[0] for texts in PHRASES.values())
    pairs = ", ".join(training["held_out_pairs"])
    side = card["image_size"]
    return f"""# The bundled model

A small CLIP that knows simple drawn scenes. It is here so that the product works, and can be tried and tested, with
no network and no download. It is a real open_clip model, trained by `python -m models.training` on scenes that the
package renders itself; no outside data went into it. For real-world footage, load a real model.

## What it knows

- Colours: {", ".join(COLORS)}
- Shapes: {", ".join(SHAPES)}
- Pairs of them ("a red circle"), of objects ("a red circle and a blue square"), of objects and backgrounds
- Sizes: {", ".join(SIZE_WORDS)} (and their synonyms)
- Textures: {textures}; with their colours ("red and white stripes")
- Frames as a whole: {phrases}

All words: {", ".join(known_words())}. The list is also in `words.json`.

## What it does not know

Anything else. A dog, a face or a street is nothing to it. Words outside the list mean nothing: they are spelt out in
pieces and were trained to be false of every frame, so a foreign label is hardly ever reported, whatever the frame
shows. It does not know positions ("left of"), motion, or reading: it sees that there is text, not what it says.
It looks at {side} x {side} pixels, so it cannot name objects smaller than about a quarter of the shorter side of the
frame, and thin lines and faint contrasts escape it. It cannot count: number words (one, {", ".join(COUNT_WORDS)}) are
taught, but the figures below show that it did not learn them.

## How well

On {figures["scenes"]} renders a row or so, of seeds that neither training nor calibration used, drawn at other sizes
and with smoother edges than in training. A label is *reported* from a probability of 0.5.

| | measured | goal |
|---|---|---|
{table}

Pairs held out of training, both as pictures and as words: {pairs}.

| label | reported when there | reported when not |
|---|---|---|
{per_label}

## Probabilities

`sigmoid(exp(logit_scale) * cosine + logit_bias)`. Scale and bias were fitted on separate renders for labels of which
one in ten is present, and are stored in the weights.

## Training

{training["steps"]} steps of {training["images_per_step"]} images, seed {training["seed"]}, in {training["time"]} on
{env["cpu"]} (torch {env["torch"]}, open_clip {env["open_clip"]}); {training["ended"]}. Every picture has a complete
description, so the truth of each pair of picture and caption is known and each pair is a training example of its own;
pairs that a person could argue about are left out. Weights are stored in half precision,
{card["weights_bytes"] / 1e6:.1f} MB.
"""


def story(steps: int, seconds: float, config: TrainingConfig) -> dict[str, Any]:
    """The part of the card that tells how the training went."""
    ended = "the schedule ran to its planned end"
    if steps < config.steps:
        ended = "the schedule was hurried to end in the time given"
    return {
        "steps": steps,
        "planned_steps": config.steps,
        "seconds": round(seconds),
        "time": str(timedelta(seconds=round(seconds))),
        "ended": ended,
    }
