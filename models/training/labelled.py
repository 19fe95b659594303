"""Labelled examples as people keep them: a CSV or JSONL of corrections, or a folder a label. And their frames.

    video,start_s,end_s,label,accepted           {"video": "a.mp4", "label": "goal", "accepted": true}
    a.mp4,12.0,18.5,goal,true
    a.mp4,40.0,44.0,goal,false                   goal/a.mp4  goal/b.jpg  _other/c.mp4

Paths are relative to the file. Without start_s and end_s an example is the whole video. Rejected rows, and those of a
folder whose name begins with `_`, show what is not the label.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from models.training.examples import NOBODY, OTHER, REJECTED, SHOWN, UNKNOWN, BadExamples, Examples

IMAGES: Final = frozenset({".jpg", ".jpeg", ".png"})
VIDEOS: Final = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts"})

_YES, _NO = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})
_COLUMNS: Final = frozenset({"video", "start_s", "end_s", "label", "accepted"})
_EDGE_S: Final = 1e-6
"""Times are written with six digits."""


@dataclass(frozen=True, slots=True)
class Example:
    """A stretch of a video, and what somebody said of it."""

    video: Path
    label: str | None
    """None: none of the labels."""
    accepted: bool = True
    start_s: float = 0.0
    end_s: float = math.inf


@dataclass(frozen=True, slots=True, repr=False)
class Seen:
    """The sampled frames of a video."""

    pts_s: np.ndarray
    """float64 [N], seconds."""
    vectors: np.ndarray
    """float32 [N, D], of length 1."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """Examples with their frames, and what could not be used."""

    examples: Examples
    without_frames: int
    """Examples in which no sampled frame lies."""
    contradicted: int
    """Frames in which a label was both accepted and rejected; of these nothing is known of it."""


def read(path: Path) -> tuple[list[Example], list[Path]]:
    """Examples of a file or a folder, and files in it that are neither videos nor pictures.

    Raises:
        BadExamples: it cannot be read; says where, and what is wrong there.
    """
    if path.is_dir():
        return _folder(path)
    if path.suffix.lower() not in (".csv", ".jsonl"):
        raise BadExamples(f"{path} is neither a folder nor a .csv or .jsonl file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadExamples(f"{path} cannot be read ({error})") from error
    rows = _csv(text, path) if path.suffix.lower() == ".csv" else _jsonl(text, path)
    found = [_example(row, path.parent, place) for place, row in rows]
    if not found:
        raise BadExamples(f"{path} holds no examples")
    return found, []


def gather(rows: Sequence[Example], seen: Mapping[Path, Seen]) -> Gathered:
    """The frames of examples.

    Args:
        seen: every video of the rows.

    Raises:
        BadExamples: none has a frame, or none has a label.
    """
    labels = tuple(dict.fromkeys(row.label for row in rows if row.label is not None))
    if not labels:
        raise BadExamples("no example has a label")
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    used = contradicted = 0
    for number, (video, frames) in enumerate(seen.items()):
        own = [(place, row) for place, row in enumerate(rows) if row.video == video]
        truth, example, against = _known(own, labels, frames.pts_s)
        contradicted += against
        used += sum(bool(_inside(row, frames.pts_s).any()) for _, row in own)
        kept = (truth != UNKNOWN).any(1)
        parts.append((frames.vectors[kept], truth[kept], example[kept], np.full(int(kept.sum()), number)))
    vectors, truth, example, video_of = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not len(vectors):
        raise BadExamples("no sampled frame lies in any of the examples; look at more frames (--fps)")
    return Gathered(Examples(labels, vectors, truth, example, video_of), len(rows) - used, contradicted)


def _known(
    rows: Sequence[tuple[int, Example]], labels: tuple[str, ...], pts_s: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Truth and example, both [N, L] as `Examples` has them, and how many truths are contradicted."""
    shape = len(pts_s), len(labels)
    truth, example = np.full(shape, UNKNOWN, np.int8), np.full(shape, NOBODY, np.int64)
    said = {True: np.zeros(shape, bool), False: np.zeros(shape, bool)}
    for place, row in rows:
        if row.label is not None:
            column = labels.index(row.label)
            fresh = _inside(row, pts_s) & ~said[row.accepted][:, column]
            said[row.accepted][fresh, column] = True
            truth[fresh, column] = SHOWN if row.accepted else REJECTED
            example[fresh, column] = place
    both = said[True] & said[False]
    truth[both], example[both] = UNKNOWN, NOBODY
    for place, row in rows:
        if row.accepted:
            others = _inside(row, pts_s)[:, None] & (truth == UNKNOWN) & ~both
            truth[others], example[others] = OTHER, place
    return truth, example, int(both.sum())


def _inside(row: Example, pts_s: np.ndarray) -> np.ndarray:
    """bool [N], which frames lie in an example; its end is not part of it."""
    return (pts_s >= row.start_s - _EDGE_S) & (pts_s < row.end_s - _EDGE_S)


def _folder(path: Path) -> tuple[list[Example], list[Path]]:
    found, others = [], []
    for folder in sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith(".")):
        label = None if folder.name.startswith("_") else folder.name
        for file in sorted(one for one in folder.iterdir() if not one.name.startswith(".")):
            if file.suffix.lower() in IMAGES | VIDEOS:
                found.append(Example(file.resolve(), label))
            else:
                others.append(file)
    if not found:
        raise BadExamples(f"{path} holds no examples: it needs a folder for each label, with videos or pictures in it")
    return found, others


def _csv(text: str, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    _require_columns(reader.fieldnames or (), str(path))
    for row in reader:
        if None in row or None in row.values():
            raise BadExamples(f"{path}:{reader.line_num}: another number of columns than the head of the file has")
        yield f"{path}:{reader.line_num}", {key.strip(): value.strip() for key, value in row.items()}


def _jsonl(text: str, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise BadExamples(f"{place}: no JSON ({error})") from error
        if not isinstance(row, dict):
            raise BadExamples(f"{place}: no JSON object")
        _require_columns(row, place)
        yield place, {key: "" if value is None else value for key, value in row.items()}


def _require_columns(names: Iterable[str], place: str) -> None:
    given = {name.strip() for name in names}
    missing, unknown = {"video", "label", "accepted"} - given, given - _COLUMNS
    if missing or unknown:
        wrong = f"lacks {', '.join(sorted(missing))}" if missing else f"has unknown {', '.join(sorted(unknown))[:200]}"
        raise BadExamples(f"{place}: {wrong}; columns are video, start_s, end_s, label, accepted")


def _example(row: Mapping[str, Any], folder: Path, place: str) -> Example:
    video, label, accepted = row["video"], row["label"], str(row["accepted"]).lower()
    if not isinstance(video, str) or not video:
        raise BadExamples(f"{place}: video is no path")
    if not isinstance(label, str) or not any(map(str.isalnum, label)):
        raise BadExamples(f"{place}: label holds no letter or digit")
    if accepted not in _YES | _NO:
        raise BadExamples(f"{place}: accepted is {accepted[:50]!r}, neither true nor false")
    start_s, end_s = _seconds(row, "start_s", 0.0, place), _seconds(row, "end_s", math.inf, place)
    if not 0.0 <= start_s < end_s:
        raise BadExamples(f"{place}: from {start_s:g} to {end_s:g} s is no stretch of a video")
    return Example((folder / Path(video).expanduser()).resolve(), label, accepted in _YES, start_s, end_s)


def _seconds(row: Mapping[str, Any], name: str, absent: float, place: str) -> float:
    value = row.get(name, "")
    if value == "":
        return absent
    try:
        seconds = float(value)
    except (TypeError, ValueError) as error:
        raise BadExamples(f"{place}: {name} is {str(value)[:50]!r}, no number of seconds") from error
    if not math.isfinite(seconds):
        raise BadExamples(f"{place}: {name} is {str(value)[:50]!r}, no number of seconds")
    return seconds
