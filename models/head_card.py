"""The card of a head: whose vectors it reads, what its numbers mean, and how well it did. JSON in its file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from models.base import Score
from models.errors import BadModel

CARD_KEY: Final = "automations.head"
"""Where the metadata of the file has it."""

FORMAT: Final = 1
"""Of card and tensors together; one that reads a file of a higher number would not know what it means."""

Activation = Literal["relu", "none"]
Output = Literal["sigmoid", "softmax", "clip"]
"""`sigmoid`: each label by itself. `softmax`: one label or another. `clip`: the number itself, cut to [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadCard:
    """What a head is."""

    name: str
    """For people."""
    encoder: str
    """The name of the model whose vectors it was trained on."""
    space: str
    """The space of these vectors, see `models.base.space_id`."""
    dim: int
    """Their length."""
    labels: tuple[Score, ...]
    """What each number means, in the order of the last layer."""
    activation: Activation = "relu"
    """Between two layers."""
    output: Output = "sigmoid"
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """What was measured when it was trained, as JSON; empty where nothing was."""


def to_json(card: HeadCard) -> str:
    """One line, the same for the same card."""
    return json.dumps(_content(card) | {"metrics": dict(card.metrics)}, sort_keys=True, ensure_ascii=False)


def meaning(card: HeadCard) -> str:
    """The part of a card that decides what the numbers mean: neither its name nor what was measured."""
    content = _content(card)
    del content["name"]
    return json.dumps(content, sort_keys=True, ensure_ascii=False)


def from_json(text: str, place: str) -> HeadCard:
    """The card in a text.

    Args:
        place: the file, for messages.

    Raises:
        BadModel: says what is wrong with it.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadModel(f"{place}: its card is no JSON ({error})") from error
    if not isinstance(content, dict):
        raise BadModel(f"{place}: its card is no JSON object")
    number = content.get("format")
    if number != FORMAT:
        newer = isinstance(number, int) and number > FORMAT
        raise BadModel(
            f"{place}: its card has the format {number!r}, this version reads {FORMAT}"
            + ("; update automations-backend" if newer else "")
        )
    known = {"format", *_FIELDS}
    unknown = ", ".join(sorted(map(str, content.keys() - known)))
    if unknown:
        raise BadModel(f"{place}: its card has fields that nobody knows: {unknown[:200]}")
    values = {name: _typed(content, name, kind, place) for name, kind in _FIELDS.items()}
    for name, choice in (("activation", get_args(Activation)), ("output", get_args(Output))):
        if values[name] not in choice:
            raise BadModel(f"{place}: its card: {name} is {str(values[name])[:50]!r}; there are {', '.join(choice)}")
    if not values["labels"]:
        raise BadModel(f"{place}: its card names no labels")
    values["labels"] = tuple(_label(one, f"{place}: its card: labels[{n}]") for n, one in enumerate(values["labels"]))
    card = HeadCard(**values)
    if card.dim < 1 or not card.space or not card.encoder:
        raise BadModel(f"{place}: its card: dim has to be 1 or more, and encoder and space not empty")
    return card


_FIELDS: Final[dict[str, type]] = {
    "name": str,
    "encoder": str,
    "space": str,
    "dim": int,
    "labels": list,
    "activation": str,
    "output": str,
    "metrics": dict,
}
_LABEL_FIELDS: Final = {"label", "threshold", "parent", "signal"}


def _content(card: HeadCard) -> dict[str, Any]:
    labels = [
        {"label": one.label, "threshold": one.threshold, "parent": one.parent, "signal": one.signal}
        for one in card.labels
    ]
    return {
        "format": FORMAT,
        "name": card.name,
        "encoder": card.encoder,
        "space": card.space,
        "dim": card.dim,
        "labels": labels,
        "activation": card.activation,
        "output": card.output,
    }


def _label(content: Any, place: str) -> Score:
    if not isinstance(content, dict) or not {"label"} <= content.keys() <= _LABEL_FIELDS:
        raise BadModel(f"{place} is no object with label, threshold, parent and signal")
    threshold, parent, signal = content.get("threshold", 0.5), content.get("parent"), content.get("signal", False)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        raise BadModel(f"{place}.threshold is no number")
    if parent is not None and not isinstance(parent, str):
        raise BadModel(f"{place}.parent is no text")
    if not isinstance(signal, bool):
        raise BadModel(f"{place}.signal is neither true nor false")
    if not isinstance(content["label"], str):
        raise BadModel(f"{place}.label is no text")
    return Score(content["label"], threshold=float(threshold), parent=parent, signal=signal)


def _typed(content: dict[str, Any], name: str, kind: type, place: str) -> Any:
    value = content.get(name)
    if value is None:
        raise BadModel(f"{place}: its card lacks {name}")
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadModel(f"{place}: its card: {name} is no {_SAID[kind]}")
    return value


_SAID: Final = {str: "text", int: "whole number", list: "list", dict: "object"}
