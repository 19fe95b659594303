"""Which files stand behind a model's name, and whether they are still the same."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_WEIGHTS: Final = ("*.safetensors", "*.json")
"""What is read of a folder, `local-dir:`."""

Stamp = tuple[tuple[int, int], ...]
"""(time of the last change, ns; bytes) of each file; empty where no file stands behind a name."""


def stamp(source: str, options: Mapping[str, Any]) -> Stamp | None:
    """Of the files that a model is made of, as they lie there now; None where one of them is missing.

    Args:
        source: as `models.catalog` takes it.
        options: what it is made with besides: labels may be a file's.
    """
    paths = [_path(source)]
    if source.startswith("classifier:") and isinstance(options.get("labels"), str):
        paths.append(options["labels"])
    try:
        return tuple(seen for path in paths if path is not None for seen in _seen(Path(path).expanduser()))
    except OSError:
        return None


def changed(before: Stamp | None, now: Stamp | None) -> bool:
    """Whether others lie there by now. Where one is missing there is nothing to go over to, so what is loaded stays."""
    return now is not None and now != before


def _path(source: str) -> str | None:
    kind, colon, rest = source.partition(":")
    if colon and kind in ("head", "local-dir"):
        return rest
    return source.partition("@")[2] or None


def _seen(path: Path) -> list[tuple[int, int]]:
    files = sorted(file for pattern in _WEIGHTS for file in path.glob(pattern)) if path.is_dir() else [path]
    return [(one.st_mtime_ns, one.st_size) for one in map(os.stat, files)]
