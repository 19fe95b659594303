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
    """Decoder -> code of the error that it must be refused with; `*` stands for all. None: the frames are equal."""

    def expected(self, decoder: str) -> str:
        """The outcome (see `running.outcome`) that the entry asks of a decoder."""
        code = self.refusals.get(decoder, self.refusals.get("*"))
        return "equal" if code is None else f"refused ({code})"


def entries() -> list[Entry]:
    """All of them, by group."""
    from tests.formats import colours, containers, geometries, refusals, timelines

    return [
        *containers.ENTRIES, *colours.ENTRIES, *geometries.ENTRIES, *timelines.ENTRIES, *refusals.ENTRIES
    ]  # fmt: skip
