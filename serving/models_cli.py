"""`automations models`: which network answers to which name, and how that came about."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from serving import models_bench, models_check_cli, models_compare, models_info, models_list, train_head_cli
from serving.client_cli import Key, Server, connected
from serving.terminal import new_console, plain

if TYPE_CHECKING:
    from rich.table import Table

    from serving.answers import LoadedSeen, ModelSeen

models = typer.Typer(help="Models: what can be named here, what each is, how fast, and how they compare.")
models.command("list")(models_list.list_)
models.command()(models_info.info)
models.command()(models_bench.bench)
models.command()(models_compare.compare)
models.command("train-head")(train_head_cli.train_head)
models.command("import-head")(train_head_cli.import_head)
models.command()(models_check_cli.check)
models.command()(models_check_cli.new)

#: Which of several workers' words on an engine counts: the best, for one that cannot reach it knows nothing of it, and
#: one for which it is asleep has not even asked.
_BEST_FIRST = ("ready", "loading", "unavailable", "asleep")


@models.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: what `GET /v1/models` says.")] = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Say which model answers to each name, at which engine, and why one that was to replace it did not.

    Exits with 1 where a name has no model that computes, and none that is started when it is needed.
    """
    with connected(server, key) as client:
        found = client.models()
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=1).decode() + "\n")
    else:
        console = new_console(highlight=False)
        console.print(_table(found))
        for line in lines(found):
            console.print(plain(line), soft_wrap=True)
    if any(model.state not in ("ready", "asleep") for model in found):
        raise typer.Exit(1)


def engines_of(model: "ModelSeen") -> "list[LoadedSeen]":
    """One entry for each engine that has a model, and for all workers that have it themselves together: of what several
    workers say, what is best, and newest."""
    best: dict[str | None, LoadedSeen] = {}
    for one in model.workers:
        before = best.get(one.engine)
        if before is None or _worth(one) > _worth(before):
            best[one.engine] = one
    return [best[engine] for engine in sorted(best, key=lambda engine: engine or "")]


def lines(found: "tuple[ModelSeen, ...]") -> Iterator[str]:
    """What is not as it should be, or will be otherwise soon: a line each."""
    for model in found:
        for one in engines_of(model):
            where = f"{model.name} at {one.engine or 'a worker'}"
            if one.error is not None:
                yield f"{where}: {one.error}"
            if one.coming is not None:
                yield f"{where}: {one.coming} is being loaded to replace it"
            if one.swap_error is not None:
                yield f"{where}: what was to replace it failed: {one.swap_error}"


def _worth(one: "LoadedSeen") -> tuple[int, float]:
    rank = _BEST_FIRST.index(one.state) if one.state in _BEST_FIRST else len(_BEST_FIRST)
    return -rank, one.checked_at.timestamp() if one.checked_at is not None else 0.0


def _table(found: "tuple[ModelSeen, ...]") -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("name", "engine", "state", "model", "version", "space", "on", "share", "generation"):
        table.add_column(name, overflow="fold")
    for model in found:
        for one in engines_of(model):
            table.add_row(
                *(
                    plain(text)
                    for text in (
                        model.name,
                        one.engine or "worker",
                        one.state,
                        one.stands_for or "",
                        one.version or "",
                        one.space or "",
                        " ".join(filter(None, (one.device, one.dtype))),
                        "all" if one.share is None else f"{one.share:.0%}",
                        "" if one.generation is None else str(one.generation),
                    )
                )
            )
        if not model.workers:
            table.add_row(plain(model.name), plain(""), plain(model.state))
    return table
