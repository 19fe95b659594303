"""`automations models info`: a model's card, as it is once it is loaded here."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from pipeline.record import Record
from pipeline.report import Notice
from serving.model_options import Device, Dtype, Json, Option, configured
from serving.models_bench import mib
from serving.terminal import new_console, plain

if TYPE_CHECKING:
    from rich.console import Console

    from serving.models_bench_measure import Measured

MOST_SHOWN = 20
"""Labels or words on the console; JSON has all of them."""


class ScoreTold(Record, frozen=True, kw_only=True):
    """As `models.base.Score`."""

    label: str
    threshold: float
    parent: str | None
    signal: bool


class NeedsTold(Record, frozen=True, kw_only=True):
    """As `models.base.Needs`."""

    space: str | None
    fps: float | None
    side: int | None


class ModelCard(Record, frozen=True, kw_only=True):
    """Everything that a model says of itself, and that loading it shows."""

    name: str
    asked: str
    """The name that it was asked for by."""
    version: str
    space: str
    dim: int
    kind: str
    encoder: bool
    """Whether an analysis can be made with it."""
    device: str
    dtype: str
    placed: str
    """Why there, and in that arithmetic; of a model that tells no reason, only that it says so."""
    preprocessing: str | None
    checksum: str | None
    """SHA-256 of its weights; None where it does not say."""
    parameters: int | None
    """None where there are none to be seen."""
    gflop: float | None
    """Of a frame after its preprocessing; None where torch cannot count it."""
    load_s: float
    memory_bytes: int | None
    """In use since it was loaded; None where the system does not tell."""
    absolute: bool | None
    """Of an encoder: whether it gives probabilities of its own; otherwise labels have to beat everyday phrases."""
    known_words: tuple[str, ...] | None
    """All that it was taught; None: everyday language, or it is no encoder."""
    scores: tuple[ScoreTold, ...]
    columns: tuple[str, ...]
    needs: NeedsTold
    training: dict[str, Any] | None
    """Of a head: the card that its training wrote."""
    notices: tuple[Notice, ...]


def info(
    name: Annotated[str, typer.Argument(help="A model, as `models list` names it.")],
    option: Option = None,
    device: Device = None,
    dtype: Dtype = None,
    as_json: Json = False,
) -> None:
    """Load a model and print its card: space, labels, arithmetic and why, size, work per frame."""
    from serving.models_bench_measure import load_measured
    from serving.settings import load

    config = configured(load().settings, name, options=option, device=device, dtype=dtype)
    card = card_of(load_measured(config, name))
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(card), indent=1).decode() + "\n")
    else:
        print_card(card, new_console(highlight=False))


def card_of(measured: Measured) -> ModelCard:
    """The card of a loaded model."""
    from models import inspecting
    from models.catalog import is_encoder

    model = measured.loaded.model
    told = model.info
    placement = getattr(model, "placement", None)
    describe = getattr(getattr(model, "preprocessing", None), "describe", None)
    words = model.known_words if is_encoder(model) else None
    return ModelCard(
        name=told.name,
        asked=measured.name,
        version=told.version,
        space=told.space,
        dim=told.dim,
        kind=told.kind,
        encoder=is_encoder(model),
        device=told.device,
        dtype=told.dtype,
        placed="so it says of itself" if placement is None else placement.reason,
        preprocessing=None if describe is None else describe(),
        checksum=getattr(model, "checksum", None),
        parameters=inspecting.parameters(model),
        gflop=measured.gflop,
        load_s=measured.load_s,
        memory_bytes=measured.memory_bytes,
        absolute=model.likelihood.bias is not None if is_encoder(model) else None,
        known_words=None if words is None else tuple(sorted(words)),
        scores=tuple(
            ScoreTold(label=one.label, threshold=one.threshold, parent=one.parent, signal=one.signal)
            for one in told.scores
        ),
        columns=told.columns,
        needs=NeedsTold(space=told.needs.space, fps=told.needs.fps, side=told.needs.side),
        training=_training(model),
        notices=tuple(Notice(code=one.code, message=one.message) for one in measured.loaded.notices),
    )


def print_card(card: ModelCard, console: Console) -> None:
    """A line a fact; what a model does not have is left out."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in _facts(card):
        table.add_row(key, plain(value))
    console.print(table)
    for notice in card.notices:
        console.print(plain(f"{notice.message} [{notice.code}]", "dim"), soft_wrap=True)


def _facts(card: ModelCard) -> Iterator[tuple[str, str]]:
    yield "name", card.name if card.name == card.asked else f"{card.asked}, which is {card.name}"
    yield "version", card.version
    yield "space", f"{card.space}, {card.dim} columns"
    yield "kind", f"{card.kind}, an encoder" if card.encoder else card.kind
    yield "runs", f"{card.dtype} on {card.device}: {card.placed}"
    if card.preprocessing is not None:
        yield "preprocessing", card.preprocessing
    if card.checksum is not None:
        yield "weights", f"SHA-256 {card.checksum}"
    if card.parameters is not None:
        yield "parameters", f"{card.parameters:,}"
    yield "work", "not known" if card.gflop is None else f"{card.gflop:.3g} GFLOP a frame"
    memory = "" if card.memory_bytes is None else f", {mib(card.memory_bytes)} in memory"
    yield "loaded", f"in {card.load_s:.1f} s{memory}"
    if card.absolute is not None:
        yield "labels", "by probabilities of its own" if card.absolute else "against a bank of everyday phrases"
        yield "words", "everyday language" if card.known_words is None else _some(card.known_words)
    if card.scores:
        yield "scores", _some([_score(one) for one in card.scores])
    if card.columns:
        yield "columns", _some(card.columns)
    needs = [
        text
        for value, text in (
            (card.needs.space, f"vectors of the space {card.needs.space}"),
            (card.needs.fps, f"{card.needs.fps or 0:g} frames per second"),
            (card.needs.side, f"{card.needs.side} pixels on the shorter side"),
        )
        if value is not None
    ]
    if needs:
        yield "needs", ", ".join(needs)
    training = card.training or {}
    for key, value in {**training, **training.get("metrics", {})}.items():
        if key != "metrics":
            yield f"training: {key}", value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _score(one: ScoreTold) -> str:
    said = f"{one.label} from {one.threshold:g}" if not one.signal else f"{one.label}, a signal"
    return said if one.parent is None else f"{said}, of {one.parent}"


def _some(texts: list[str] | tuple[str, ...]) -> str:
    rest = len(texts) - MOST_SHOWN
    return "; ".join(texts[:MOST_SHOWN]) + (f"; and {rest} more" if rest > 0 else "")


def _training(model: Any) -> dict[str, Any] | None:
    """What a head tells of its training; what the rest of the card has, too, is left out."""
    from models.head_card import HeadCard, to_json

    card = getattr(model, "card", None)
    if not isinstance(card, HeadCard):
        return None
    told = json.loads(to_json(card))
    return {name: told[name] for name in ("name", "encoder", "activation", "output", "metrics")}
