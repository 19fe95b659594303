"""Are tags calibrated? How many absent labels are reported, and how many present ones are found.

    python -m benchmarks.tags [--images 300] [--videos 40] [--out benchmarks/results/tags.json]
    python -m benchmarks.tags --thresholds 1500        # after a new training: what bundled.toml should say

Scenes come from the bundled model's own renderer under a seed that training never used, so the truth of every label
is known; labels whose truth is unclear (a colour under a dark exposure) are not counted. A video is three scenes in
which the shapes drift, with five sampled frames each.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from models import catalog
from models.training.captions import FOREIGN_WORDS
from models.training.facts import FALSE, TRUE, answers, fact
from models.training.sampling import sample_scene
from models.training.scenes import Scene, render
from pipeline import tags, vocabulary
from pipeline.report import Source
from pipeline.spec import Label

SIZE = (256, 256)
"""Pixels; larger than the model's input, so that its preprocessing has work to do."""
SCENES, FRAMES = 3, 5
MOST_FALSE = 0.05

CALIBRATION_SEED = 88_000_001
FALSE_A_FRAME = 0.012
"""Share of false reports per frame that thresholds aim at: three independent scenes may then reach 3.6 %."""

_CONDITIONS = {"title card": "title", "polka dots": "dots"}
_OTHERS = ("submarine", "volcano", "orchestra", "penguin", "telescope", "passport", "glacier", "violin")
"""Words that neither the vocabulary nor training has."""


def truth(label: Label, scene: Scene) -> int:
    """`TRUE`, `UNCLEAR` or `FALSE`: does the scene show a label of the bundled vocabulary?"""
    name = _CONDITIONS.get(label.name, label.name)
    match label.parent:
        case "colour":
            key = ("color", name)
        case "shape":
            key = ("object", "any", name, "any", "some")
        case "texture":
            key = ("kind", name)
        case _:
            key = ("kind", name) if name in ("gradient", "static") else ("condition", name.removesuffix(" frame"))
    if key == ("condition", "black"):
        key = ("condition", "black frame")
    return int(answers(scene)[fact(*key)])


def drifting(scene: Scene, step: int) -> Scene:
    """The scene `step` samples later."""
    objects = tuple(replace(item, x=min(0.9, item.x + 0.01 * step)) for item in scene.objects)
    return replace(scene, objects=objects, camera=replace(scene.camera, seed=scene.camera.seed + step))


def reported(model, vectors: tags.LabelVectors, scenes: list[Scene]) -> set[str]:
    """Labels found in a video of these frames, sampled once a second."""
    frames = np.stack([render(scene, *SIZE) for scene in scenes])
    found = tags.find(
        np.arange(len(frames), dtype=np.float64),
        model.run(frames),
        vectors,
        model.likelihood,
        duration_s=float(len(frames)),
        source=Source(name=model.info.name, version=model.info.space),
    )
    return {tag.label for tag in found if tag.kind == "tag"}


def tally(model, labels: tuple[Label, ...], clips: list[list[Scene]]) -> dict:
    """How often labels were reported, by their truth."""
    vectors = tags.embed(labels, model, model.likelihood)
    strangers = tuple(Label(name=word) for word in (*FOREIGN_WORDS[:40], *_OTHERS))
    foreign = tags.embed(strangers, model, model.likelihood)
    counts = {label.name: {"present": 0, "found": 0, "absent": 0, "false": 0} for label in labels}
    foreign_reports = 0
    for scenes in clips:
        names = reported(model, vectors, scenes)
        foreign_reports += len(reported(model, foreign, scenes))
        for label in labels:
            verdicts = [truth(label, scene) for scene in scenes]
            row = counts[label.name]
            if TRUE in verdicts:
                row["present"] += 1
                row["found"] += label.name in names
            elif all(verdict == FALSE for verdict in verdicts):
                row["absent"] += 1
                row["false"] += label.name in names
    total = {key: sum(row[key] for row in counts.values()) for key in ("present", "found", "absent", "false")}
    return {
        "clips": len(clips),
        "recall": round(total["found"] / max(1, total["present"]), 4),
        "false_report_rate": round(total["false"] / max(1, total["absent"]), 4),
        "false_report_rate_foreign_words": round(foreign_reports / (len(clips) * len(strangers)), 4),
        **total,
        "labels": counts,
    }


def thresholds(model, labels: tuple[Label, ...], images: int) -> dict[str, float]:
    """Label -> threshold, at least 0.5, that `FALSE_A_FRAME` of the frames without the label pass. Its own seed."""
    rng = np.random.default_rng(CALIBRATION_SEED)
    scenes = [sample_scene(rng) for _ in range(images)]
    vectors = tags.embed(labels, model, model.likelihood)
    chunks = [np.stack([render(one, *SIZE) for one in scenes[at : at + 100]]) for at in range(0, images, 100)]
    p = np.concatenate([tags.probabilities(model.run(chunk), vectors, model.likelihood) for chunk in chunks])
    verdicts = np.array([[truth(label, scene) for label in labels] for scene in scenes])
    limits = [np.quantile(p[verdicts[:, n] == FALSE, n], 1.0 - FALSE_A_FRAME) for n in range(len(labels))]
    return {label.name: round(max(0.5, float(limit)), 2) for label, limit in zip(labels, limits, strict=True)}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.tags", description=__doc__)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--videos", type=int, default=40)
    parser.add_argument("--seed", type=int, default=77_000_001)
    parser.add_argument("--thresholds", type=int, default=0, help="print thresholds from so many scenes, no more")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/tags.json"))
    args = parser.parse_args(argv)
    model = catalog.load("bundled").model
    labels = vocabulary.read("bundled")
    if args.thresholds:
        for name, threshold in thresholds(model, labels, args.thresholds).items():
            print(f"{name} = {threshold}")
        return 0
    rng = np.random.default_rng(args.seed)
    images = [[sample_scene(rng)] for _ in range(args.images)]
    videos = [
        [drifting(scene, step) for scene in [sample_scene(rng) for _ in range(SCENES)] for step in range(FRAMES)]
        for _ in range(args.videos)
    ]
    content = {"model": f"{model.info.name} {model.info.version}", "seed": args.seed}
    worst = 0.0
    for name, clips in (("images", images), ("videos", videos)):
        content[name] = tally(model, labels, clips)
        shown = {key: value for key, value in content[name].items() if key != "labels"}
        print(f"{name}: {json.dumps(shown)}", flush=True)
        worst = max(worst, shown["false_report_rate"], shown["false_report_rate_foreign_words"])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(content, indent=1) + "\n")
    return 0 if worst <= MOST_FALSE else 1


if __name__ == "__main__":
    sys.exit(main())
