"""`automations config render` and `config check`: what a Serve YAML says in full, and whether it can be deployed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from serving.graph.args import ModelConfig
    from serving.graph.machines import Machine

File = Annotated[
    str, typer.Argument(help="A Serve YAML; `cpu`, `single-gpu` and `cluster` are those that come with the package.")
]


def render(
    file: File = "cpu",
    engine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=MODEL,...",
            help="Instead of the file's engines: these, each like the first of the file, with these models. "
            "`MODEL=NETWORK` has a network answer to another name: `canary=auto=ViT-L-14/openai`.",
        ),
    ] = None,
) -> None:
    """Print the Serve YAML as it will be deployed, all defaults filled in. `serve deploy` takes what is printed."""
    from serving.graph import deploy_file, rendering
    from serving.graph.schema import require_accepted

    path = deploy_file.path_of(file)
    deploy = deploy_file.load(path)
    with _named(path):
        if engine:
            deploy = rendering.with_engines(deploy, _engines(engine))
        require_accepted(deploy)
        sys.stdout.write(deploy_file.write(rendering.rendered(deploy)))


def check(
    file: File,
    machine: Annotated[
        str | None,
        typer.Option(
            help="What it is to fit: `cpu`, `single-gpu`, `cluster`, or like `cpus=8,gpus=1,memory_gib=32`; "
            "`cpus=4 + 4xcpus=16,gpus=1` are several. This machine, if nothing is said; for a file of the package, "
            "the one that it is for."
        ),
    ] = None,
) -> None:
    """Say whether a Serve YAML can be deployed, and what may be meant otherwise. Starts and loads nothing."""
    from serving.graph import deploy_file
    from serving.graph.checking import check as checked
    from serving.graph.fitting import arithmetic

    path = deploy_file.path_of(file)
    deploy = deploy_file.load(path)
    on = _machine(file, machine)
    with _named(path):
        warnings = checked(deploy, on)
    for line in warnings:
        print(f"warning: {line}")
    print(f"{path} fits {on.name}: {arithmetic(deploy, on)}")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What is wrong begins with the file."""
    from serving.graph.args import InvalidGraph

    try:
        yield
    except InvalidGraph as error:
        raise type(error)(f"{path}: {error}") from error


def _machine(file: str, said: str | None) -> "Machine":
    from serving.graph import deploy_file, machines

    if said is None:
        return machines.CLASSES[file] if file in deploy_file.NAMES else machines.this_machine()
    return machines.machine(said)


def _engines(said: list[str]) -> "dict[str, dict[str, ModelConfig]]":
    """`default=auto,bundled` -> default: auto and bundled, each by the network of its name."""
    from serving.graph.args import EngineConfig, GraphArgs, InvalidGraph, read

    engines = {}
    for one in said:
        name, _, models = one.partition("=")
        pairs = [model.strip().partition("=") for model in models.split(",")]
        plain = {asked: {"source": source} if source else {} for asked, _, source in pairs}
        if name in engines or len(plain) < len(pairs):
            raise InvalidGraph(f"--engine: {one!r:.80} says something twice")
        engines[name] = read(EngineConfig, {"models": plain}, f"--engine {name}").models
    read(GraphArgs, {"engines": list(engines)}, "--engine")
    return engines
