"""What the columns of a classifier mean, from what a configuration says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.base import Score
from models.errors import BadModel


def read_scores(labels: Any, name: str, threshold: Any = 0.5) -> tuple[Score, ...]:
    """The columns, in order.

    Args:
        labels: a list, or the path of a file: a JSON list, or text with a label a line. An entry of a list is a label,
            or a mapping of what `models.base.Score` holds: `{label: a crack, parent: defects, threshold: 0.7}`.
        name: of the model, for messages.
        threshold: of those that have none of their own.

    Raises:
        BadModel: there are none, or one cannot be; says which.
    """
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise BadModel(f"{name}: threshold is {threshold!r}; it is a number from 0 to 1")
    if isinstance(labels, str | Path):
        labels = _of_file(Path(labels).expanduser(), name)
    if not isinstance(labels, list | tuple) or not labels:
        raise BadModel(f"{name}: labels have to be a list with one for each class, or the path of a file of them")
    return tuple(_score(entry, name, float(threshold)) for entry in labels)


def _of_file(file: Path, name: str) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
        return (
            json.loads(text) if file.suffix == ".json" else [line.strip() for line in text.splitlines() if line.strip()]
        )
    except (OSError, ValueError) as error:
        raise BadModel(f"{name}: labels cannot be read from {file} ({error})".replace("\n", " ")) from error


def _score(entry: Any, name: str, threshold: float) -> Score:
    if isinstance(entry, str):
        return Score(entry, threshold)
    try:
        score = Score(**({"threshold": threshold} | entry))
    except TypeError as error:
        raise BadModel(
            f"{name}: {str(entry)[:100]} is no label: give a text, or label, threshold, parent and signal"
        ) from error
    kinds = {"label": str, "threshold": int | float, "parent": str | None, "signal": bool}
    for field, kind in kinds.items():
        if not isinstance(value := getattr(score, field), kind):
            raise BadModel(f"{name}: the {field} of {str(entry)[:100]} cannot be {value!r}")
    return score
