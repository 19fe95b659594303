"""`automations models list`: every name that a model can be asked for by, and where it comes from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from pipeline.record import Record
from serving.model_options import Json
from serving.terminal import new_console, plain

if TYPE_CHECKING:
    from rich.console import Console

    from serving.settings import Settings

CUSTOM = "custom"
"""Kind of a model of others: whether it is an encoder, a classifier or a head shows when it is loaded."""


class Named(Record, frozen=True, kw_only=True):
    """A name, and what is known of its model without loading it."""

    name: str
    origin: str
    """`built in`, `models file`, `entry point` or `open_clip`."""
    kind: str
    """`encoder`, `classifier`, `head` or `custom`."""
    source: str
    """What it is loaded from, in a few words."""
    here: bool | None = None
    """Whether its weights are on this machine; None where that is not known without loading it."""
    unusable: str | None = None
    """Why nobody can ask for it by this name; None where one can."""


class Names(Record, frozen=True, kw_only=True):
    """What can be named here."""

    named: tuple[Named, ...]
    pretrained: int
    """How many pretrained models open_clip knows."""
    pretrained_here: int
    """How many of them are in the local cache."""


def list_(
    every: Annotated[
        bool, typer.Option("--all", help="With all pretrained models of open_clip, not only those here.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say which models can be named here. What a server has loaded is told by `models status`."""
    from serving.settings import load

    found = names(load().settings, every=every)
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=1).decode() + "\n")
    else:
        print_names(found, new_console(highlight=False), every=every)


def names(settings: Settings, *, every: bool) -> Names:
    """All but the pretrained models of open_clip that are not here; with `every` those, too.

    Raises:
        InvalidSettings: the file of models cannot be read.
    """
    pretrained = tuple(_pretrained())
    shown = (one for one in pretrained if every or one.here)
    return Names(
        named=(*_built_in(pretrained), *_of_the_file(settings), *_entry_points(), *shown),
        pretrained=len(pretrained),
        pretrained_here=sum(one.here is True for one in pretrained),
    )


def print_names(found: Names, console: Console, *, every: bool) -> None:
    """A table of the names; pretrained ones of an architecture in one line where there are all of them."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("name", "kind", "here", "from"):
        table.add_column(column, overflow="fold")
    for one in found.named:
        if one.origin == "open_clip" and every:
            continue
        here = {None: "", True: "yes", False: "no"}[one.here]
        said = one.origin if one.origin == "open_clip" else f"{one.origin}: {one.source}"
        table.add_row(plain(one.name), one.kind, here, plain(said))
        if one.unusable is not None:
            table.add_row("", "", "", plain(f"cannot be used: {one.unusable}"))
    console.print(table)
    count = f"{found.pretrained} pretrained models of open_clip, {found.pretrained_here} of them in the local cache"
    if not every:
        console.print(f"\n{count}: --all names them. Besides, as they are written:", soft_wrap=True)
        for line in FORMS:
            console.print(plain(f"  {line}"), soft_wrap=True)
        return
    console.print(f"\n{count}; architecture, and its tags (* is here):", soft_wrap=True)
    for architecture, tags in _grouped(found.named).items():
        console.print(plain(f"  {architecture}: {', '.join(tags)}"), soft_wrap=True)


FORMS = (
    "hf-hub:ORG/REPO  local-dir:FOLDER  ARCHITECTURE@FILE.safetensors  ARCHITECTURE/random   an encoder",
    "classifier:ARCHITECTURE@FILE   labels of a network of torchvision",
    "head:FILE   labels or a score from the vectors of an encoder",
    "package.module:Class   a class of yours",
)
"""Names that stand for files, repositories and classes."""


def _built_in(pretrained: tuple[Named, ...]) -> Iterator[Named]:
    from models.catalog import BUNDLED, DEFAULT

    here = any(one.name == DEFAULT and one.here for one in pretrained)
    yield Named(
        name="auto",
        origin="built in",
        kind="encoder",
        source=f"{DEFAULT}, or bundled where it cannot be had",
        here=here,
    )
    yield Named(
        name=BUNDLED, origin="built in", kind="encoder", source="a small model of shapes and colours", here=True
    )


def _of_the_file(settings: Settings) -> Iterator[Named]:
    """Names that the operator gave, in `jobs.models_file`."""
    from serving.named_models import named_models

    for name, config in named_models(settings).items():
        source = config.source_of(name)
        yield Named(name=name, origin="models file", kind=_kind(source), source=source)


def _entry_points() -> Iterator[Named]:
    from models import custom
    from models.errors import BadModel

    for name in custom.registered():
        source, unusable = "", _taken(name)
        try:
            found = custom.entry_point(name)
            source = found.value if found else ""
        except BadModel as error:
            unusable = unusable or str(error)
        yield Named(name=name, origin="entry point", kind=CUSTOM, source=source, here=True, unusable=unusable)


def _taken(name: str) -> str | None:
    """Why an entry point of this name is never asked; None where it is."""
    from models.catalog import FACTORIES

    pattern = next((pattern for pattern, _ in FACTORIES if fnmatchcase(name, pattern)), None)
    if pattern is None:
        return None
    return f"a name of the form {pattern} means something else: its package has to register another one"


def _pretrained() -> Iterator[Named]:
    from models import hub
    from models.weights import tag_files, tags

    for architecture, tag in tags():
        repo, files = tag_files(architecture, tag)
        yield Named(
            name=f"{architecture}/{tag}",
            origin="open_clip",
            kind="encoder",
            source=repo,
            here=hub.cached(repo, files) is not None,
        )


def _kind(source: str) -> str:
    from models.catalog import names_encoder

    if names_encoder(source):
        return "encoder"
    prefix = source.partition(":")[0]
    return prefix if prefix in ("classifier", "head") else CUSTOM


def _grouped(named: tuple[Named, ...]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for one in named:
        if one.origin == "open_clip":
            architecture, _, tag = one.name.partition("/")
            groups.setdefault(architecture, []).append(f"{tag}*" if one.here else tag)
    return groups
