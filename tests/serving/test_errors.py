"""docs/errors.md has a row for every error class, and no other."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import errors
from serving.analyzing import REFUSED

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
ROW = re.compile(r"^\| `(\w+)` \| (.+) \| (.+) \| (\d+) \| (yes|no) \|$", re.MULTILINE)


def _classes(base: type[errors.VideoError] = errors.VideoError) -> Iterator[type[errors.VideoError]]:
    for kind in base.__subclasses__():
        # Those of the command line's client have the codes of whatever the server said.
        if kind.__module__ == errors.__name__:
            yield kind
        yield from _classes(kind)


ROWS = {code: rest for code, *rest in ROW.findall(PAGE.read_text(encoding="utf-8"))}


def test_every_class_has_a_row_and_every_row_a_class():
    # By name, for a code that two classes share would hide one of them.
    codes = [kind.code for kind in _classes() if kind.__module__ == errors.__name__]
    assert sorted(codes) == sorted(ROWS)
    assert len(ROW.findall(PAGE.read_text(encoding="utf-8"))) == len(ROWS), "no row twice"


@pytest.mark.parametrize("kind", list(_classes()), ids=lambda kind: kind.code)
def test_the_row_says_what_the_class_says(kind):
    means, advice, exit_code, retryable = ROWS[kind.code]
    assert means.endswith(".")
    assert advice.endswith(".")
    assert int(exit_code) == REFUSED
    assert (retryable == "yes") == kind.retryable


def test_the_codes_of_the_contract_are_there():
    contract = {
        "unsupported_container", "unsupported_codec", "no_video_stream", "encrypted", "truncated", "corrupt",
        "limit_exceeded", "decode_timeout", "decoder_crashed",
    }  # fmt: skip
    assert contract <= set(ROWS)
