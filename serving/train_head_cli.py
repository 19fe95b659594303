"""`automations models train-head` and `import-head`: heads on vectors, learnt here or brought from elsewhere."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from pipeline.errors import InvalidSpec, ModelUnavailable
from serving.settings import load
from serving.terminal import new_console, plain

if TYPE_CHECKING:
    from rich.console import Console

    from models.head_card import HeadCard
    from models.training.labelled import Gathered
    from serving.training_vectors import Vectors

KINDS = ("linear", "mlp")

Out = Annotated[Path, typer.Option(help="The file to write, NAME.safetensors.", show_default=False)]
Signal = Annotated[bool, typer.Option("--signal", help="Its numbers say how good a moment is, not what is in it.")]


def train_head(
    labels: Annotated[
        Path,
        typer.Option(
            help="Examples: a CSV or JSONL with video, start_s, end_s, label, accepted; or a folder with a folder of "
            "videos or pictures for each label.",
            show_default=False,
        ),
    ],
    out: Out,
    model: Annotated[
        str | None,
        typer.Option(help="The encoder whose vectors it reads; left out: that of the reports, else `auto`."),
    ] = None,
    kind: Annotated[str, typer.Option(help="`linear`, or `mlp` (one hidden layer, for many examples).")] = "linear",
    signal: Signal = False,
    min_examples: Annotated[int, typer.Option(min=1, help="Accepted examples that a label needs.")] = 5,
    reports: Annotated[
        Path | None,
        typer.Option(help="A folder of reports (`analyze --json`): videos that they are of are not looked at again."),
    ] = None,
    fps: Annotated[float, typer.Option(help="Frames per second of video that are looked at.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same examples and seed give the same head.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was measured as JSON.")] = False,
) -> None:
    """Learn tags or a score from accepted and rejected examples; `--with head:NAME.safetensors` uses them at once."""
    if kind not in KINDS:
        raise InvalidSpec(f"--kind: {kind!r} is not one of {', '.join(KINDS)}")
    _require_writable(out)
    from models.training import labelled

    console = new_console(stderr=as_json)
    with _refused():
        rows, others = labelled.read(labels)
    for file in others:
        console.print(plain(f"left out: {file} is neither a video nor a picture", "yellow"), highlight=False)
    from serving.training_vectors import stored, vectors_of

    videos = list(dict.fromkeys(row.video for row in rows))
    kept = stored(reports) if reports is not None else {}
    vectors = vectors_of(videos, kept, model=model, fps=fps, settings=load().settings, console=console)
    with _refused():
        from models import heads
        from models.training.head import HeadOptions, train
        from models.training.head_report import write_beside

        gathered = labelled.gather([row for row in rows if row.video in vectors.seen], vectors.seen)
        options = HeadOptions(
            kind="mlp" if kind == "mlp" else "linear", signal=signal, min_examples=min_examples, seed=seed
        )
        trained = train(
            gathered.examples,
            options,
            name=out.stem,
            encoder=vectors.encoder,
            space=vectors.space,
            left_out=tuple(_left_out(gathered, vectors)),
        )
        heads.save(out, trained.layers, trained.card)
        beside = write_beside(out, trained.card)
    if as_json:
        sys.stdout.write(json.dumps({"name": trained.card.name, **trained.card.metrics}, indent=1) + "\n")
    else:
        _print_card(trained.card, console)
        reused = f", {vectors.from_reports} of {len(vectors.seen)} videos from reports" if reports is not None else ""
        console.print(plain(f"head: {out}; figures: {beside[0]}, {beside[1]}{reused}"), highlight=False, soft_wrap=True)


def import_head(
    file: Annotated[Path, typer.Argument(help="A state dict with N.weight and N.bias: .safetensors, .pt or .pth.")],
    encoder: Annotated[
        str, typer.Option(help="The model whose vectors it was trained on; it is loaded.", show_default=False)
    ],
    label: Annotated[list[str], typer.Option(help="What each of its numbers means, in order.", show_default=False)],
    out: Out,
    signal: Signal = False,
    activation: Annotated[
        str | None, typer.Option(help="What is between its layers, which the file does not say: `relu` or `none`.")
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(help="LOW,HIGH of what it gives, for example `1,10`: is mapped to 0 to 1, and cut there."),
    ] = None,
    output: Annotated[
        str, typer.Option(help="Without --scale, what is done to its numbers: `sigmoid`, `softmax` or `clip`.")
    ] = "sigmoid",
) -> None:
    """Bring in a head that was trained elsewhere, for example LAION's aesthetic predictor. Runs nothing of the file."""
    from models.head_card import Activation, HeadCard, Output

    _require_writable(out)
    _require_one_of("--activation", activation, (*get_args(Activation), None))
    _require_one_of("--output", output, get_args(Output))
    bounds = None if scale is None else _bounds(scale)
    with _refused():
        from models import catalog, heads
        from models.training.foreign_head import mapped, read_layers

        layers = read_layers(file.expanduser())
        if len(layers) > 1 and activation is None:
            raise InvalidSpec(
                f"{file} has {len(layers)} layers and does not say what is between them: give --activation relu or "
                "--activation none (LAION's aesthetic predictors have nothing)"
            )
        info = catalog.load(encoder).model.info
        from models.base import Score

        card = HeadCard(
            name=out.stem,
            encoder=info.name,
            space=info.space,
            dim=info.dim,
            labels=tuple(Score(one, signal=signal) for one in label),
            activation="none" if activation == "none" else "relu",
            output="clip" if bounds or output == "clip" else "softmax" if output == "softmax" else "sigmoid",
        )
        head = heads.save(out, mapped(layers, *bounds) if bounds else layers, card)
    what = f"{out}: {len(layers)} layers on {info.name} ({info.space}), nothing measured; use it with --with head:{out}"
    new_console().print(plain(f"{what} (version {head.info.version})"), highlight=False, soft_wrap=True)


@contextmanager
def _refused() -> Iterator[None]:
    """What models and examples raise, as what the command line has a line and an exit code for."""
    from models.errors import ModelError
    from models.training.examples import BadExamples

    try:
        yield
    except ModelError as error:
        raise ModelUnavailable(str(error)) from error
    except BadExamples as error:
        raise InvalidSpec(str(error)) from error
    except OSError as error:
        raise InvalidSpec(f"{error.filename or 'the head'} cannot be written ({error.strerror})") from error


def _left_out(gathered: Gathered, vectors: Vectors) -> Iterator[str]:
    yield from vectors.left_out
    if gathered.without_frames:
        yield f"{gathered.without_frames} examples in which no sampled frame lies (--fps looks at more)"
    if gathered.contradicted:
        yield f"{gathered.contradicted} frames in which a label was both accepted and rejected"


def _print_card(card: HeadCard, console: Console) -> None:
    from rich.table import Table

    from models.training.head_report import HEADINGS, figures

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    metrics: Any = card.metrics
    for label in metrics["labels"]:
        table.add_row(*map(plain, figures(label)))
    console.print(table)
    for line in metrics["left_out"]:
        console.print(plain(f"left out: {line}", "yellow"), highlight=False)
    for line in metrics["not_tried_on"]:
        console.print(plain(f"not tried on {line}", "dim"), highlight=False)


def _require_writable(out: Path) -> None:
    """Raises InvalidSpec, before minutes are spent."""
    if out.suffix != ".safetensors":
        raise InvalidSpec(f"--out: {out} has to end in .safetensors")
    folder = next(one for one in (out.absolute().parent, *out.absolute().parents) if one.exists())
    if out.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InvalidSpec(f"--out: {out} cannot be written")


def _require_one_of(option: str, value: str | None, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        raise InvalidSpec(f"{option}: {value!r} is not one of {', '.join(filter(None, choices))}")


def _bounds(scale: str) -> tuple[float, float]:
    try:
        low, high = map(float, scale.split(","))
    except ValueError as error:
        raise InvalidSpec(f"--scale: {scale!r} is not LOW,HIGH, for example 1,10") from error
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InvalidSpec(f"--scale: {scale!r}: HIGH has to be above LOW")
    return low, high
