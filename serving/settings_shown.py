"""`automations config show`: every setting, its value, and where it comes from."""

from rich.console import Console
from rich.table import Table

from pipeline.record import Record
from serving.settings import CONFIG, Loaded, Origin, figure, is_secret, names, variable
from serving.terminal import plain

HIDDEN = "(hidden)"
"""What is shown of a secret that was set."""


class Shown(Record, frozen=True, kw_only=True):
    """One setting."""

    name: str
    """Section and field, as in the file: `input.max_pixels`."""
    value: int | float | str
    default: int | float | str
    origin: Origin
    variable: str
    """What sets it in the environment."""


class AllShown(Record, frozen=True, kw_only=True):
    """What `automations config show --json` prints."""

    file: str | None
    """The file that AUTOMATIONS_CONFIG names."""
    settings: tuple[Shown, ...]


def shown(loaded: Loaded) -> AllShown:
    """All settings, in the order in which they are declared."""
    rows = []
    for name, field in names():
        section, _, own = name.partition(".")
        value = getattr(getattr(loaded.settings, section), own)
        rows.append(
            Shown(
                name=name,
                value=HIDDEN if is_secret(field) and name in loaded.given else value,
                default=field.default,
                origin=loaded.given.get(name, "default"),
                variable=variable(name),
            )
        )
    return AllShown(file=str(loaded.file) if loaded.file else None, settings=tuple(rows))


def print_shown(every: AllShown, console: Console) -> None:
    """A table, and below it the file."""
    table = Table(box=None, pad_edge=False)
    table.add_column("setting", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("origin", no_wrap=True)
    table.add_column("variable", style="dim", overflow="fold")
    for one in every.settings:
        style = "" if one.origin == "default" else "bold"
        table.add_row(one.name, plain(figure(one.value), style), plain(one.origin, style), one.variable)
    console.print(table)
    console.print(plain(f"file: {every.file or f'none ({CONFIG} names one)'}", "dim"), highlight=False)
