"""A model as options of the command line name it: how it is to be computed, and what it is made with besides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from pipeline.errors import InvalidSpec

if TYPE_CHECKING:
    from serving.graph.args import ModelConfig
    from serving.settings import Settings

Option = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        help="What the model is made with besides, `name=value`; as YAML reads it. May be given several times.",
    ),
]
Device = Annotated[str | None, typer.Option(help="`cpu`, `cuda` or `cuda:N`; left out: the best.")]
Dtype = Annotated[str | None, typer.Option(help="`float32` or `bfloat16`; left out: by a short measurement.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def parse_options(given: Sequence[str] | None, name: str = "--option") -> dict[str, Any]:
    """`["threshold=0.7", "labels=[a, b]"]` -> `{"threshold": 0.7, "labels": ["a", "b"]}`.

    Args:
        name: what errors call it.

    Raises:
        InvalidSpec: not of that form, no YAML, or the same twice.
    """
    import yaml

    found: dict[str, Any] = {}
    for item in given or ():
        key, equals, value = item.partition("=")
        key = key.strip()
        if not equals or not key.isidentifier():
            raise InvalidSpec(f"{name}: {item!r} is not of the form name=value")
        if key in found:
            raise InvalidSpec(f"{name}: {key} is given twice")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            said = str(error).splitlines()[0]
            raise InvalidSpec(f"{name}: the value of {key} cannot be read ({said})") from error
    return found


def configured(
    settings: Settings,
    name: str,
    *,
    options: Sequence[str] | None = None,
    device: str | None = None,
    dtype: str | None = None,
    called: str = "--option",
) -> ModelConfig:
    """How a model is loaded: as `jobs.models_file` says of the name, with what the command line says instead.

    Raises:
        InvalidSettings: the file of models cannot be read.
        InvalidSpec: as `parse_options`; `called` is what it calls them.
    """
    from serving.graph.args import ModelConfig
    from serving.named_models import named_models

    config = named_models(settings).get(name, ModelConfig())
    changes: dict[str, Any] = {"options": config.options | parse_options(options, called)}
    if device is not None:
        changes["device"] = device
    if dtype is not None:
        changes["dtype"] = dtype
    return msgspec.structs.replace(config, **changes)
