"""`automations models bench`: how fast models are on this machine, beside each other and against what it can do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from pipeline.errors import InvalidSpec
from pipeline.record import Record
from serving.model_options import Device, Json, configured
from serving.models_bench_machine import Machine
from serving.models_bench_measure import FRAME, TEXTS, Measured, Rate
from serving.terminal import new_console, plain

if TYPE_CHECKING:
    from rich.console import Console

    from serving.settings import Settings

MOST_BATCH = 4096


class Benched(Record, frozen=True, kw_only=True):
    """A model and how fast it is."""

    name: str
    version: str
    space: str
    kind: str
    dim: int
    device: str
    dtype: str
    load_s: float
    memory_bytes: int | None
    """In use since it was loaded; None where the system does not tell."""
    gflop: float | None
    """Of a frame; None where it is not known."""
    images: tuple[Rate, ...]
    """By batch size. Of a head: vectors."""
    texts: Rate | None
    """None of a model without a text tower."""


class Bench(Record, frozen=True, kw_only=True):
    """What was measured, and on what."""

    machine: Machine
    frame: tuple[int, int] = FRAME
    """Height and width of the frames, pixels."""
    seconds: float
    """How long each model was measured for each figure, at least."""
    models: tuple[Benched, ...]


def bench(
    names: Annotated[list[str], typer.Argument(help="Models, as `models list` names them.")],
    batches: Annotated[str, typer.Option(help="Frames at a time.")] = "1,8,32",
    seconds: Annotated[float, typer.Option(help="How long each model is measured for each figure, at least.")] = 1.0,
    dtype: Annotated[
        list[str] | None,
        typer.Option(help="`float32` or `bfloat16`; given twice, each model is measured in both."),
    ] = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Measure models in turns: images with their preprocessing, and texts, per second of wall and of CPU time."""
    from serving.settings import load

    found = benched(names, sizes(batches), seconds, dtype or [None], device, load().settings)
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=1).decode() + "\n")
    else:
        print_bench(found, new_console(highlight=False))


def sizes(batches: str) -> tuple[int, ...]:
    """`1,8,32` -> (1, 8, 32). Raises InvalidSpec where it is no such list."""
    try:
        found = tuple(dict.fromkeys(int(part) for part in batches.split(",")))
    except ValueError:
        found = ()
    if not found or not all(0 < size <= MOST_BATCH for size in found):
        raise InvalidSpec(f"--batches: {batches!r} is no list of numbers from 1 to {MOST_BATCH}, such as 1,8,32")
    return found


def benched(
    names: Sequence[str],
    batches: Sequence[int],
    seconds: float,
    dtypes: Sequence[str | None],
    device: str | None,
    settings: Settings,
) -> Bench:
    """Load all of them, then let them take turns.

    Raises:
        ModelUnavailable: one cannot be loaded, or does not compute.
        InvalidSpec: a head without the model whose vectors it reads.
    """
    from models.catalog import is_encoder
    from serving.models_bench_machine import machine
    from serving.models_bench_measure import head_width, image_job, load_measured, rates, text_job

    if not 0 < seconds <= 3600:
        raise InvalidSpec(f"--seconds: {seconds:g} is not above 0 and at most 3600")
    measured: dict[str, Measured] = {}
    for name in dict.fromkeys(names):
        for dtype in dict.fromkeys(dtypes):
            shown = f"{name} in {dtype}" if len(set(dtypes)) > 1 else name
            measured[shown] = load_measured(configured(settings, name, device=device, dtype=dtype), name)
    every = list(measured.values())
    widths = {name: head_width(one, every) for name, one in measured.items()}
    images: dict[str, list[Rate]] = {name: [] for name in measured}
    for batch in batches:
        jobs = {name: image_job(one.loaded.model, batch, width=widths[name]) for name, one in measured.items()}
        for name, rate in rates(jobs, batch, seconds, measured).items():
            images[name].append(rate)
    speaking = {name: text_job(one.loaded.model) for name, one in measured.items() if is_encoder(one.loaded.model)}
    texts = rates(speaking, TEXTS, seconds) if speaking else {}
    return Bench(
        machine=machine(),
        seconds=seconds,
        models=tuple(_benched(name, one, images[name], texts.get(name)) for name, one in measured.items()),
    )


def print_bench(found: Bench, console: Console) -> None:
    """What it took to load each, then the rates, a line each."""
    from serving.report_console import new_table, print_cut

    machine = found.machine
    rate = ", ".join(f"{value:.0f} in {dtype}" for dtype, value in machine.matrix_gflops.items())
    load = " ".join(f"{value:.1f}" for value in machine.load_average)
    console.print(
        plain(f"{machine.gpu or machine.cpu}, {machine.cores} cores; matrix products on one core, GFLOP/s: {rate}"),
        soft_wrap=True,
    )
    console.print(plain(f"load average {load}; frames of {found.frame[1]}x{found.frame[0]}"), soft_wrap=True)
    console.print()
    for one in found.models:
        told = [f"{one.dtype} on {one.device}", f"loaded in {one.load_s:.1f} s"]
        if one.memory_bytes is not None:
            told.append(f"{mib(one.memory_bytes)} in memory")
        told.append("work per frame not known" if one.gflop is None else f"{one.gflop:.3g} GFLOP a frame")
        console.print(plain(f"{one.name} ({one.version}): {', '.join(told)}"), soft_wrap=True)
    console.print()
    columns = ("Batch", "Per s", "Per CPU s", "Of the matrix rate", "Memory", "Spread")
    table = new_table("Images", ("Model", "wide"), *((name, "right") for name in columns))
    rows = [(plain(one.name), *_cells(rate)) for one in found.models for rate in one.images]
    print_cut(table, rows, console)
    spoken = [(plain(one.name), *_cells(one.texts)) for one in found.models if one.texts is not None]
    if spoken:
        print_cut(new_table("Texts", ("Model", "wide"), *((name, "right") for name in columns)), spoken, console)


def mib(size: int) -> str:
    """Bytes for a person."""
    return f"{size / 2**20:.0f} MiB"


def _cells(rate: Rate) -> tuple[str, ...]:
    return (
        str(rate.batch),
        f"{rate.per_s:.4g}",
        f"{rate.per_cpu_s:.4g}",
        "" if rate.matrix_share is None else f"{rate.matrix_share:.0%}",
        "" if rate.peak_bytes is None else mib(rate.peak_bytes),
        f"{rate.spread:.0%}",
    )


def _benched(name: str, one: Measured, images: list[Rate], texts: Rate | None) -> Benched:
    info = one.loaded.model.info
    return Benched(
        name=name,
        version=info.version,
        space=info.space,
        kind=info.kind,
        dim=info.dim,
        device=info.device,
        dtype=info.dtype,
        load_s=one.load_s,
        memory_bytes=one.memory_bytes,
        gflop=one.gflop,
        images=tuple(images),
        texts=texts,
    )
