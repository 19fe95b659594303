"""Writes docs/formats.md, the matrix as a table: `python -m tests.formats.publish`."""

from pathlib import Path

from tests.formats.matrix import entries
from tests.formats.running import DECODERS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "formats.md"

_HEAD = """# Which files are read

Every line is a file that `tests/formats` writes, decodes and compares with the pictures it was made from, at every run
of the tests. *Equal*: every picture, sampled sparsely and all of them, is the known one (PSNR at least the bound,
computed on upright RGB) at its known time (within 1 ms). *Refused*: with the error of that code, one line for a person,
no partial result. Written by `python -m tests.formats.publish`; a test fails where this page and the matrix differ.

What is done to colours, fields and shapes: `docs/decisions/0007-right-pixels.md`.
"""


def table() -> str:
    """The page."""
    every = entries()
    columns = ["file", "container", "encoder", "pixels", "what is odd", "bound, dB", *DECODERS]
    lines = [_HEAD, f"{len(every)} files.", "", _row(columns), _row(["---"] * len(columns))]
    for entry in every:
        outcomes = [entry.expected(decoder) for decoder in DECODERS]
        bound = f"{entry.bound_db:g}" if "equal" in outcomes else ""
        lines.append(_row([entry.name, entry.suffix, entry.codec, entry.pixels, entry.oddity, bound, *outcomes]))
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    DOCUMENT.write_text(table(), encoding="utf-8")
