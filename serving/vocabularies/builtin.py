"""The vocabularies that come with the package (`configs/vocabularies/`): everybody's, and read-only."""

from dataclasses import dataclass
from functools import cache

from pipeline import vocabulary
from pipeline.spec import Label


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """One of them."""

    name: str
    """Also its id."""
    description: str
    labels: tuple[Label, ...]


@cache
def all_of_them() -> dict[str, BuiltIn]:
    """By name, in order."""
    return {name: _read(name) for name in vocabulary.built_in()}


def _read(name: str) -> BuiltIn:
    path = vocabulary.FOLDER / f"{name}.toml"
    return BuiltIn(name, _description(path.read_text(encoding="utf-8")), vocabulary.load(path))


def _description(text: str) -> str:
    """The comment that a file begins with."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines)
