"""Processes that are started again when they end."""

import subprocess
import sys
import time

import pytest

from serving import mending
from serving.graph.launch import REFUSED
from serving.mending import Kept
from tests.serving.graph.launching import until


class Starting:
    """Starts processes that end with these exit codes, one after the other."""

    def __init__(self, *codes: int) -> None:
        self._codes, self.started = iter(codes), 0

    def __call__(self) -> "subprocess.Popen[bytes]":
        self.started += 1
        return subprocess.Popen([sys.executable, "-c", f"raise SystemExit({next(self._codes)})"])


@pytest.fixture
def quick(monkeypatch) -> None:
    monkeypatch.setattr(mending, "waits", lambda: iter([0.01 * 2**n for n in range(9)]))


def _ended(kept: Kept) -> int:
    """Its exit code, once that is for good."""
    codes: list[int] = []

    def over() -> bool:
        code = kept.look()
        codes.extend([] if code is None else [code])
        return bool(codes)

    until(over, 30, "it ends")
    return codes[0]


def _started(kept: Kept, starting: Starting, times: int) -> None:
    until(lambda: kept.look() is not None or starting.started == times, 30, f"started {times} times")
    assert starting.started == times


def test_what_is_not_mended_ends_for_good():
    starting = Starting(3)
    assert _ended(Kept(starting, "worker", mended=False)) == 3
    assert starting.started == 1


def test_what_is_mended_is_started_again_and_says_so(quick, capsys):
    starting = Starting(1, 0, REFUSED, 1, 0)
    kept = Kept(starting, "graph", mended=True)
    _started(kept, starting, 5)
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "graph     ended with exit code 1 after 0 s; it is started again in 0.01 s",
        "graph     ended with exit code 0 after 0 s; it is started again in 0.02 s",
        "graph     ended with exit code 2 after 0 s; it is started again in 0.04 s",
        "graph     ended with exit code 1 after 0 s; it is started again in 0.08 s",
    ]


def test_one_that_was_killed_says_by_what(quick, capsys):
    kept = Kept(lambda: subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]), "graph", mended=True)
    first = kept.process
    first.kill()
    until(lambda: kept.look() is not None or kept.process is not first, 30, "it is started again")
    assert "graph     was ended by SIGKILL after 0 s" in capsys.readouterr().out
    assert kept.look() is None
    kept.process.kill()
    kept.process.wait(10)


def test_what_is_refused_at_first_is_not_tried_again(quick):
    starting = Starting(REFUSED)
    assert _ended(Kept(starting, "graph", mended=True)) == REFUSED
    assert starting.started == 1


def test_pauses_begin_anew_after_one_that_held(quick, capsys, monkeypatch):
    starting = Starting(*[1] * 9)
    kept = Kept(starting, "graph", mended=True)
    _started(kept, starting, 3)
    monkeypatch.setattr(mending, "STEADY_S", 0.0)
    _started(kept, starting, 4)
    pauses = [line.split()[-2] for line in capsys.readouterr().out.splitlines()]
    assert pauses == ["0.01", "0.02", "0.01"]


def test_nothing_is_started_before_its_pause_is_over(monkeypatch):
    monkeypatch.setattr(mending, "waits", lambda: iter([600.0]))
    starting = Starting(1)
    kept = Kept(starting, "graph", mended=True)
    kept.process.wait(30)
    for _ in range(3):
        assert kept.look() is None
        time.sleep(0.01)
    assert starting.started == 1
