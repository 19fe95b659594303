"""Whether what a model says of itself holds together: read before its first frame, so that a mistake has a name."""

from __future__ import annotations

from typing import Any, get_args

from models.base import Kind, ModelInfo, Needs, Score
from models.errors import BadModel

DTYPES = ("float32", "bfloat16")


def require_declared(model: Any, name: str) -> None:
    """Look at `info` and at the methods that have to be there.

    Args:
        name: as it was asked for, for messages.

    Raises:
        BadModel: says what is wrong, and what would be right.
    """
    info = getattr(model, "info", None)
    if not isinstance(info, ModelInfo):
        raise BadModel(f"{name}: has no `info`, which has to be a models.base.ModelInfo, but {type(info).__name__}")
    if not callable(getattr(model, "run", None)):
        raise BadModel(f"{name}: has no method `run`, which gives float32 [N, info.dim]")
    if info.kind not in get_args(Kind):
        raise BadModel(f"{name}: info.kind is {info.kind!r}; there are {', '.join(get_args(Kind))}")
    if info.dtype not in DTYPES:
        raise BadModel(f"{name}: info.dtype is {info.dtype!r}; there are {', '.join(DTYPES)}")
    if not isinstance(info.dim, int) or info.dim < 1:
        raise BadModel(f"{name}: info.dim is {info.dim!r}; it counts the columns of an answer, 1 or more")
    if not info.space or not info.version:
        raise BadModel(f"{name}: info.space and info.version must not be empty; models.base.space_id makes the former")
    _require_types(info, name)
    columns = {"scores": info.scores, "measurement": info.columns}.get(info.kind)
    if columns is not None and len(columns) != info.dim:
        field = "scores" if info.kind == "scores" else "columns"
        raise BadModel(f"{name}: info.{field} names {len(columns)} columns, info.dim is {info.dim}")
    if info.kind != "scores" and info.scores:
        raise BadModel(f"{name}: info.scores is for models of the kind `scores`, this one is of the kind `{info.kind}`")
    _require_scores(info, name)
    is_head = not hasattr(model, "preprocess")
    if is_head and info.needs.space is None:
        raise BadModel(
            f"{name}: is neither a frame model nor a head: subclass models.base.FrameModel, or say in info.needs.space "
            "whose vectors it reads"
        )
    if not is_head and info.needs.space is not None:
        raise BadModel(f"{name}: says in info.needs.space that it reads vectors, but is a FrameModel: subclass Head")


def _require_types(info: ModelInfo, name: str) -> None:
    for field, kind in (("scores", Score), ("columns", str)):
        values = getattr(info, field)
        if not isinstance(values, tuple) or not all(isinstance(one, kind) for one in values):
            raise BadModel(f"{name}: info.{field} is {values!r:.200}; it has to be a tuple of {kind.__name__}")
    if not isinstance(info.needs, Needs):
        raise BadModel(f"{name}: info.needs is {info.needs!r:.200}; it has to be a models.base.Needs")
    for score in info.scores:
        if not isinstance(score.label, str):
            raise BadModel(f"{name}: info.scores: the label {score.label!r:.50} is no text")
        if not isinstance(score.threshold, int | float):
            raise BadModel(f"{name}: info.scores: the threshold of {score.label[:50]} is {score.threshold!r:.50}")
        if score.parent is not None and not isinstance(score.parent, str):
            raise BadModel(f"{name}: info.scores: the parent of {score.label[:50]} is {score.parent!r:.50}, no text")


def _require_scores(info: ModelInfo, name: str) -> None:
    seen: set[str] = set()
    for score in info.scores:
        if not any(map(str.isalnum, score.label)) or len(score.label) > 1000:
            raise BadModel(f"{name}: info.scores: {score.label[:50]!r} cannot be a label")
        if score.label in seen:
            raise BadModel(f"{name}: info.scores: {score.label[:50]!r} is there twice")
        if not 0.0 <= score.threshold <= 1.0:
            raise BadModel(f"{name}: info.scores: the threshold of {score.label[:50]} is {score.threshold}, not 0 to 1")
        seen.add(score.label)
