"""`automations models check` and `models new`: whether a model keeps its contract, and one of yours to begin with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

from pipeline.errors import InvalidSpec, ModelUnavailable
from pipeline.record import Record
from serving.model_options import Device, Dtype, Json, Option, configured
from serving.terminal import new_console, plain

if TYPE_CHECKING:
    from rich.console import Console

    from models.conformance import Result
    from serving.graph.args import ModelConfig


class CheckTold(Record, frozen=True, kw_only=True):
    """As `models.conformance.Result`."""

    name: str
    state: Literal["passed", "failed", "skipped"]
    said: str
    seconds: float


class CheckReport(Record, frozen=True, kw_only=True):
    """What `models check --json` prints."""

    model: str
    """The name that it was asked for by."""
    passed: bool
    checks: tuple[CheckTold, ...]


def check(
    name: Annotated[str, typer.Argument(help="A model, as `models list` names it, or `package.module:Class`.")],
    option: Option = None,
    device: Device = None,
    dtype: Dtype = None,
    seconds: Annotated[
        float | None, typer.Option(help="Longest that loading it, or one check, may take; left out: 60.", min=0.1)
    ] = None,
    memory_gib: Annotated[
        float | None, typer.Option(help="Most memory that it may take besides Python and torch; left out: 4.", min=0.01)
    ] = None,
    as_json: Json = False,
) -> None:
    """Say whether a model keeps its contract: shapes, numbers, batches, threads, memory and more.

    It runs in a process of its own, so that whatever it does ends that process at most. Exits with 1 where it fails.
    """
    from serving.settings import load

    config = configured(load().settings, name, options=option, device=device, dtype=dtype)
    limits = {"trial_s": seconds, "trial_gib": memory_gib}
    given = {field: value for field, value in limits.items() if value is not None}
    config = msgspec.structs.replace(config, **given)
    console = new_console(highlight=False)
    results = _results(config, name, None if as_json else console)
    passed = not any(result.state == "failed" for result in results)
    if as_json:
        told = tuple(CheckTold(name=r.name, state=r.state, said=r.said, seconds=round(r.seconds, 3)) for r in results)
        report = CheckReport(model=name, passed=passed, checks=told)
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report), indent=1).decode() + "\n")
    else:
        failed = sum(result.state == "failed" for result in results)
        console.print(plain(f"{name} keeps the contract" if passed else f"{name}: {failed} failed"), soft_wrap=True)
    if not passed:
        raise typer.Exit(1)


def new(
    name: Annotated[str, typer.Argument(help="Of the package and of the model: a Python identifier, `brightness`.")],
    folder: Annotated[Path, typer.Option(help="Where the package's folder is made.")] = Path(),
    kind: Annotated[str, typer.Option(help="`classifier`, `head` or `encoder`.")] = "classifier",
) -> None:
    """Write a package with a model of yours: small, tested, and working as it stands."""
    from models.scaffold import CannotWrite, write_package

    try:
        written = write_package(name, folder, kind)
    except CannotWrite as error:
        raise InvalidSpec(str(error)) from error
    console = new_console(highlight=False)
    for file in written:
        console.print(plain(str(file)), soft_wrap=True)
    console.print(plain(f"next: {written[0].parent / 'README.md'}"), soft_wrap=True)


def _results(config: ModelConfig, name: str, console: Console | None) -> list[Result]:
    """Do all checks, and print each as soon as it is done. Raises ModelUnavailable where there is no such model."""
    from models.conformance import check_elsewhere
    from models.device import place
    from models.errors import ModelError
    from models.trial import Limits

    def show(result: Result) -> None:
        if console is not None:
            style = {"failed": "red", "skipped": "dim"}.get(result.state, "")
            console.print(plain(f"{result.name:<14}{result.state:<9}{result.said}", style), soft_wrap=True)

    try:
        return check_elsewhere(
            config.source_of(name),
            place(config.device, config.dtype),
            config.options,
            Limits(seconds=config.trial_s, memory_gib=config.trial_gib),
            show,
        )
    except ModelError as error:
        raise ModelUnavailable(f"{name}: {error}") from error
