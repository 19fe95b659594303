"""docs/asvs.md answers for every requirement of levels 1 and 2, and the tests that it names are there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "asvs.md").read_text(encoding="utf-8")

#: How many of each section, by their last numbers: those of levels 1 and 2 come before those of level 3.
SECTIONS = {
    "1.1": 2, "1.2": 9, "1.3": 11, "1.4": 3, "1.5": 2,
    "2.1": 3, "2.2": 3, "2.3": 4, "2.4": 1,
    "3.2": 2, "3.3": 4, "3.4": 6, "3.5": 5, "3.7": 2,
    "4.1": 3, "4.2": 1, "4.3": 2, "4.4": 4,
    "5.1": 1, "5.2": 3, "5.3": 2, "5.4": 3,
    "6.1": 3, "6.2": 12, "6.3": 4, "6.4": 4, "6.5": 5, "6.6": 3, "6.8": 4,
    "7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 2, "7.6": 2,
    "8.1": 2, "8.2": 3, "8.3": 1, "8.4": 1,
    "9.1": 3, "9.2": 4,
    "10.1": 2, "10.2": 2, "10.3": 4, "10.4": 11, "10.5": 5, "10.6": 2, "10.7": 3,
    "11.1": 2, "11.2": 3, "11.3": 3, "11.4": 4, "11.5": 1, "11.6": 1,
    "12.1": 3, "12.2": 2, "12.3": 4,
    "13.1": 1, "13.2": 5, "13.3": 2, "13.4": 5,
    "14.1": 2, "14.2": 4, "14.3": 3,
    "15.1": 3, "15.2": 3, "15.3": 7,
    "16.1": 1, "16.2": 5, "16.3": 4, "16.4": 3, "16.5": 3,
    "17.1": 1, "17.2": 4, "17.3": 2,
}  # fmt: skip

#: Instead of a test, an answer begins with one of these.
REASONS = ("does not apply: ", "up to who runs it: ", "documented: ", "**not met**: ", "**in part**: ")

_ROW = re.compile(r"^\| (\d[\d., *]*) \| (.+) \| (.+) \|$", re.MULTILINE)
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def _ids(row: tuple[str, ...]) -> list[str]:
    return [one.strip().removesuffix("*") for one in row[0].split(",")]


def test_every_requirement_is_answered_for_once():
    rows = _ROW.findall(PAGE)
    found = [one for row in rows for one in _ids(row)]
    expected = [f"{section}.{number}" for section, count in SECTIONS.items() for number in range(1, count + 1)]
    assert len(expected) == 253
    assert sorted(found) == sorted(expected)
    assert sum(row[0].count("*") for row in rows) == 70
    for row in rows:
        assert _TEST.search(row[2]) or row[2].startswith(REASONS), row


def test_every_test_that_is_named_is_there():
    named = set(_TEST.findall(PAGE))
    assert len(named) > 100
    missing = {
        f"{file}::{name}"
        for file, name in named
        if not re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert missing == set()


def test_the_summary_is_that_of_the_rows():
    counted: dict[str, int] = {}
    for row in _ROW.findall(PAGE):
        kind = next((reason.rstrip(": ") for reason in REASONS if row[2].startswith(reason)), "held by tests")
        counted[kind] = counted.get(kind, 0) + len(_ids(row))
    for kind, count in counted.items():
        assert re.search(rf"^\| {re.escape(kind)}(:.+)? \| {count} \|$", PAGE, re.MULTILINE), (kind, count)
