"""The matrix: each entry is a file, how it is made, and what must come of it. Frozen, seeded by nothing but numbers.

`python -m tests.formats.publish` writes docs/formats.md from it; test_matrix.py holds the pipeline to it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.formats.writing import Known


@dataclass(frozen=True)
class Entry:
    """One file."""

    name: str
    suffix: str
    """Of the file, which also chooses FFmpeg's muxer; the pipeline never looks at it."""
    codec: str
    pixels: str
    oddity: str
    """What is worth testing about it, in words."""
    make: Callable[[Path], Known | None]
    """Writes the file and returns what must come out; None where there is no video in it."""
    bound_db: float = 40.0
    """The least PSNR of every picture against its source: between what the coding loses and what a mistake would."""
    refusals: dict[str, str] = field(default_factory=dict)
    """`*` -> code of the error that the file must be refused with, whatever the decoder. What single decoders refuse is
    in `decoders.RULES`."""


def groups() -> dict[str, list[Entry]]:
    """All entries, by what they are about."""
    from tests.formats import colours, containers, geometries, refusals, timelines

    modules = (containers, colours, geometries, timelines, refusals)
    return {module.__name__.rpartition(".")[2]: module.ENTRIES for module in modules}


def entries() -> list[Entry]:
    """All of them, in the order of the published table."""
    return [entry for group in groups().values() for entry in group]
