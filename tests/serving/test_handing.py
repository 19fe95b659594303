"""What an API is told that was started before anything was known."""

import os
from collections.abc import Iterator

import msgspec
import pytest

from serving import handing
from serving.errors import NotRunning
from serving.handing import Telling, Told
from serving.settings import DEFAULTS
from tests.serving.graph.launching import until

#: With what ends a line.
SETTINGS = msgspec.structs.replace(
    DEFAULTS, server=msgspec.structs.replace(DEFAULTS.server, cors_origins="https://ä.example\n" * 200, port=8123)
)
URL = "postgresql://automations:pass\nword@/automations?host=/a%20b"


@pytest.fixture
def ends(monkeypatch) -> Iterator[tuple[Telling, Told]]:
    # A line comes in many reads.
    monkeypatch.setattr(handing, "_CHUNK", 7)
    reading, writing = os.pipe()
    with open(writing, "wb", buffering=0) as pipe:
        yield Telling(pipe), Told(reading)
    os.close(reading)


def test_all_of_it_arrives(ends):
    telling, told = ends
    assert told.waits == ""
    telling.settings(SETTINGS)
    assert told.settings() == SETTINGS
    for what in ("it is made", "its schema is made"):
        telling.waits(what)
        until(lambda what=what: told.waits == what, 20, what)
    telling.there(URL)
    assert told.database_url() == URL


def test_who_ends_before_has_told_nothing():
    reading, writing = os.pipe()
    told = Told(reading)
    os.write(writing, b'{"waits":"it is made"}\n')
    os.close(writing)
    for ask in (told.settings, told.database_url):
        with pytest.raises(NotRunning, match="has ended"):
            ask()
    os.close(reading)


def test_who_listens_no_more_is_told_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb", buffering=0) as pipe:
        Telling(pipe).there(URL)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_is_not_understood_keeps_nobody_waiting():
    reading, writing = os.pipe()
    told = Told(reading)
    os.write(writing, b"nonsense\n")
    with pytest.raises(NotRunning):
        told.settings()
    os.close(writing)
    os.close(reading)
