"""Measures the matrix and writes docs/formats.md: `python -m tests.formats.publish`.

To be run where as many decoders work as can be had: the column of one that does not work is published as not measured.
Nothing is written where an outcome is not the expected one.
"""

import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import files, version
from pathlib import Path

import av

from tests.formats.decoders import EQUAL, OTHER_BOUNDS, OTHERS, REFERENCE, RULES, Column
from tests.formats.matrix import entries
from tests.formats.running import Outcome, Written, alone, may_be, with_takeover, write

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "formats.md"
COLUMNS = (REFERENCE, *OTHERS)

NOT_MEASURED = "–"

_HEAD = """# Which files are read

Every line of the table is a file that `tests/formats` writes, decodes and compares with the pictures it was made from,
at every run of the tests. *Equal*: every picture, sampled sparsely and all of them, is the known one (PSNR at least the
bound, computed on upright RGB) at its known time (within 1 ms). *Refused*: with the error of that code, one line for a
person, no partial result. Anything else is a failure, and there is none: `python -m tests.formats.publish` measures
this page and does not write it otherwise, and a test fails where page and matrix differ.

`pyav` is the decoder that everybody gets. The other columns are what one that is asked for by name (`--decoder`) does
by itself; what it refuses or fails at `pyav` takes over, so that every file comes out as in the first column (tested
too). The number behind a refusal is that of its reason, below the table.

What is done to colours, fields and shapes: `docs/decisions/0007-right-pixels.md`. How other decoders are given a video:
`docs/decisions/0009-other-decoders-get-a-clip-as-a-file.md`.
"""

_MEASURED = "## Measured with"

#: What it takes to fill a column, by whether that is a GPU.
_FILLED_BY = {
    False: "`python -m tests.formats.publish` where it works",
    True: "`python -m tests.formats.publish` on a machine with a GPU (`benchmarks/gpu.sh` tests without publishing)",
}


def page(cells: Callable[[Written, Column], str], every: Sequence[Written], measured: str) -> str:
    """The page. `cells`: what the table says; `measured`: how this machine came to it, not compared by the test."""
    titles = ["file", "container", "encoder", "pixels", "what is odd", "bound, dB", *(one.name for one in COLUMNS)]
    lines = [_HEAD, _MEASURED, "", measured, "", f"## {len(every)} files", ""]
    lines += [_row(titles), _row(["---"] * len(titles))]
    for written in every:
        entry = written.entry
        outcomes = [cells(written, column) for column in COLUMNS]
        bound = f"{entry.bound_db:g}" if not entry.refusals else ""
        lines.append(_row([entry.name, entry.suffix, entry.codec, entry.pixels, entry.oddity, bound, *outcomes]))
    lines += ["", "## Why a decoder refuses", ""]
    lines += [f"{number}. {', '.join(rule.decoders)}: {rule.words}." for number, rule in enumerate(RULES, 1)]
    lines += ["", "Other bounds than those in the table:", ""]
    lines += [f"- {decoder} {words}." for decoder, words in OTHER_BOUNDS.items()]
    return "\n".join(lines) + "\n"


def expected_cell(written: Written, column: Column) -> str:
    """The outcome that a decoder on a CPU must come to, with the number of the reason."""
    expected = written.expected(column)
    return expected.cell if expected.rule is None else f"{expected.cell} [{expected.rule + 1}]"


def comparable(text: str, columns: Sequence[Column]) -> list[str]:
    """What of a page must be the same on every machine where these columns can be measured."""
    start, stop = text.find(_MEASURED), text.find("\n## ", text.find(_MEASURED))
    lines = (text[:start] + text[stop:]).splitlines()
    hidden = [place - len(COLUMNS) for place, column in enumerate(COLUMNS) if column not in columns]
    return [_without(line, hidden) if line.startswith("| ") else line for line in lines]


def _without(line: str, places: Sequence[int]) -> str:
    cells = line.strip("| ").split(" | ")
    for place in places:
        cells[place] = ""
    return _row(cells)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


Measurements = Mapping[Column, Mapping[str, Outcome]]
"""Column -> name of the entry -> what came out; columns that do not work here are absent."""


def _measured(every: Sequence[Written], found: Measurements) -> str:
    """How many of what, by which versions, and what is not measured."""
    lines = [_row(["decoder", "version", "equal", "refused", "failed"]), _row(["---"] * 5)]
    for column, outcomes in found.items():
        cells = [outcome.cell for outcome in outcomes.values()]
        equal, refused = cells.count(EQUAL), sum(cell.startswith("refused") for cell in cells)
        failed = len(cells) - equal - refused
        lines.append(_row([column.name, _versions()[column.decoder], str(equal), str(refused), str(failed)]))
    missing = [column for column in COLUMNS if column not in found]
    if missing:
        lines += ["", f"{NOT_MEASURED}: not measured."]
    for column in missing:
        lines.append(f"- {column.name}: {column.support().why_not}. Filled by {_FILLED_BY[column.on_gpu]}.")
    names = ", ".join(f"`--decoder {column.decoder}`" for column in found if column != REFERENCE)
    if names:
        lines += ["", f"With {names} and `pyav` to take over, all {len(every)} files came out as in the column `pyav`."]
    return "\n".join(lines)


def _versions() -> dict[str, str]:
    """Of each library, and of the FFmpeg that it decodes with where it says."""
    found = {column.decoder: column.support().version or "" for column in COLUMNS}
    found["pyav"] += f", FFmpeg {av.ffmpeg_version_info}"
    if Column("torchcodec").support().works:
        from torchcodec._core import get_ffmpeg_library_versions  # pyright: ignore[reportPrivateImportUsage]

        found["torchcodec"] += f", FFmpeg {get_ffmpeg_library_versions()['ffmpeg_version']} of the system"
    if Column("decord").support().works:
        # Its wheel names the libraries inside by their versions.
        names = (re.search(r"libavcodec-\w+\.so\.([\d.]+)$", str(file)) for file in files("decord") or ())
        found["decord"] += "".join(f", libavcodec {name[1]}" for name in names if name)
    found["dali"] += f" ({_package_of_dali()})" if found["dali"] else ""
    return found


def _package_of_dali() -> str:
    for name in ("nvidia-dali-cuda120", "nvidia-dali-cuda130"):
        try:
            version(name)
        except ModuleNotFoundError:
            continue
        return name
    return ""


def main() -> int:
    """Measure all, write the page; 1 where something is not as expected."""
    columns = [column for column in COLUMNS if column.support().works]
    found: dict[Column, dict[str, Outcome]] = {column: {} for column in columns}
    wrong: list[str] = []
    every: list[Written] = []
    for entry in entries():
        with tempfile.TemporaryDirectory() as folder:
            written = write(entry, Path(folder))
        every.append(written)
        for column in columns:
            came = found[column][entry.name] = alone(written, column)
            if not may_be(came, written, column):
                wrong.append(f"{entry.name}, {column.name}: {came}, expected {written.expected(column)}")
            if column != REFERENCE and (fault := with_takeover(written, column)):
                wrong.append(f"{entry.name}, {column.name} with {REFERENCE.name} to take over: {fault}")
    print("\n".join(wrong) or f"all {len(every)} files as expected by {', '.join(one.name for one in columns)}")
    if wrong:
        return 1

    def cell(written: Written, column: Column) -> str:
        if column not in found:
            return NOT_MEASURED
        return found[column][written.entry.name].cell if column.on_gpu else expected_cell(written, column)

    DOCUMENT.write_text(page(cell, every, _measured(every, found)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
