"""What was measured of a head, for people: Markdown, and JSON, beside its file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.head_card import HeadCard
from models.heads import write_whole


def write_beside(head: Path, card: HeadCard) -> tuple[Path, Path]:
    """Write what is in a card as `NAME.json` and `NAME.md` beside `NAME.safetensors`; returns both. Raises OSError."""
    as_json, as_text = head.with_suffix(".json"), head.with_suffix(".md")
    content = {"name": card.name, **card.metrics}
    write_whole(as_json, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    write_whole(as_text, markdown(card).encode())
    return as_json, as_text


def markdown(card: HeadCard) -> str:
    """The card as a page."""
    return "\n".join(_lines(card)).rstrip() + "\n"


def figures(label: dict[str, Any]) -> tuple[str, ...]:
    """Of a label in `metrics`, what `HEADINGS` name."""
    measured = label["out_of_fold"]
    names = ("precision", "recall", "f1", "average_precision", "calibration_error")
    counts = (f"{label[kind]['examples']} ({label[kind]['videos']})" for kind in ("accepted", "rejected", "other"))
    numbers = ("not measured",) * len(names) if measured is None else (f"{measured[name]:.3f}" for name in names)
    return (label["label"], *counts, f"{label['threshold']:.3f}", *numbers, str(label["folds"]))


HEADINGS = (
    "label",
    "accepted",
    "rejected",
    "of other labels",
    "threshold",
    "precision",
    "recall",
    "F1",
    "average precision",
    "calibration error",
    "folds",
)


def _lines(card: HeadCard) -> Iterator[str]:
    metrics = card.metrics
    yield f"# {card.name}"
    yield ""
    yield (
        f"A {metrics['kind']} head on the vectors of `{card.encoder}` (space `{card.space}`, {card.dim} numbers), "
        f"learnt from {metrics['examples']} examples in {metrics['videos']} videos, {metrics['frames']} frames; "
        f"seed {metrics['seed']}."
    )
    yield ""
    yield f"| {' | '.join(HEADINGS)} |"
    yield f"|{'---|' * len(HEADINGS)}"
    for label in metrics["labels"]:
        cells = (cell.replace("|", "\\|").replace("\n", " ") for cell in figures(label))
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield (
        "Examples, in brackets the videos that they are of. Precision, recall and F1 are those at a threshold that was "
        "chosen without the videos that they are measured on, by frames; each example counts the same, however many "
        "frames it has. Calibration error: how far probabilities are from how often they came true."
    )
    yield ""
    for heading, key in (("Left out:", "left_out"), ("Not tried on:", "not_tried_on")):
        if metrics[key]:
            yield from (heading, "", *(f"- {line}" for line in metrics[key]), "")
