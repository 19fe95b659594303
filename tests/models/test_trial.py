"""Models of others that do everything wrong: each is one clear line, and this process goes on."""

import importlib
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from models import trial
from models.catalog import load_any
from models.errors import BadModel, MissingDependency, ModelError, UnknownModel
from models.trial import Limits
from models.trial_child import look
from tests.models.strangers import write_module

pytestmark = pytest.mark.slow

ME = os.getpid()

LIMITS = Limits(seconds=60.0, memory_gib=1.0)


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module `strangers` that can be imported, here and by children; nothing was tried out before."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(trial, "_passed", set())
    yield write_module(tmp_path)
    sys.modules.pop("strangers", None)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what was tried out, as often as it was."""
    names, converse = [], trial.converse

    def noting(request, limits):
        names.append(request.name)
        converse(request, limits)

    monkeypatch.setattr(trial, "converse", noting)
    return names


def refusal(name: str, limits: Limits = LIMITS, **options: object) -> str:
    """What is said of a model that is refused."""
    with pytest.raises(BadModel) as caught:
        load_any(f"strangers:{name}", "cpu", "float32", options, limits)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_good_one_is_tried_once_for_its_options_and_code(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = []
    monkeypatch.setattr(trial, "converse", lambda request, limits: requests.append(request))

    def load(**options: object) -> np.ndarray:
        model = load_any("strangers:Good", "cpu", "float32", options, LIMITS).model
        return model.run(np.full((2, 4, 4, 3), 51, np.uint8))

    assert np.allclose(load(), 0.2)
    load()
    assert len(requests) == 1
    assert np.allclose(load(factor=2.0), 0.4)
    assert [request.options for request in requests] == [{}, {"factor": 2.0}]
    module.write_text(module.read_text() + "\nANOTHER = 1\n")
    load()
    assert len(requests) == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Raises", "strangers:Raises does not answer to its example as it should: RuntimeError: no"),
        ("Crashes", "crashed the process that tried it out (SIGSEGV) while it looked at its example"),
        ("Leaves", "ended the process that tried it out (exit code 3) while it was loaded; it said last: not here"),
        ("Exits", "SystemExit: 0"),
    ],
)
def test_a_bad_one_is_one_line_and_its_code_never_runs_here(name: str, said: str) -> None:
    assert said in refusal(name)
    assert "strangers" not in sys.modules


def test_one_that_failed_is_tried_again(tried: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "START_S", 0.0)
    for _ in range(2):
        with pytest.raises(ModelError, match="did not begin") as caught:
            load_any("strangers:Good", "cpu", "float32", {}, LIMITS)
        assert not isinstance(caught.value, BadModel), "the model cannot help it"
    assert tried == ["strangers:Good"] * 2
    monkeypatch.setattr(trial.sys, "executable", "/nowhere/python")
    with pytest.raises(ModelError, match="no process can be started"):
        load_any("strangers:Good", "cpu", "float32", {}, LIMITS)


@pytest.mark.parametrize(
    ("name", "said"),
    [("NotANumber", "an answer that holds no numbers"), ("WrongShape", r"an answer of shape \(1, 1\)")],
)
def test_answers_that_are_none(name: str, said: str) -> None:
    model = getattr(importlib.import_module("strangers"), name)()
    with pytest.raises(BadModel, match=said):
        look(name, model)


def test_one_that_hangs_is_ended() -> None:
    before = children()
    said = refusal("Hangs", Limits(seconds=1.5))
    assert said == "strangers:Hangs gave no answer within 1.5 s while it looked at its example"
    assert children() == before


def test_one_that_takes_all_memory_is_ended_before_it_has_it() -> None:
    said = refusal("Greedy", Limits(memory_gib=0.5))
    assert said == "strangers:Greedy took more than 0.5 GiB of memory while it was loaded"


def test_memory_of_what_it_starts_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRANGER", "greedy-here")
    said = refusal("GreedyElsewhere", Limits(memory_gib=0.5))
    assert said == "strangers:GreedyElsewhere took more than 0.5 GiB of memory while it was loaded"
    assert not left(b"STRANGER=greedy-here")


def test_torch_is_loaded_by_who_wants_it_and_is_not_counted() -> None:
    assert "torch is not loaded" in refusal("TellsOfTorch")
    # Torch itself is more than that.
    load_any("strangers:WantsTorch", "cpu", "float32", {}, Limits(memory_gib=0.1))


@pytest.mark.parametrize("name", ["Litters", "Hides"])
def test_what_it_prints_and_starts_is_not_in_the_way(
    name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRANGER", "litters-here")
    load_any(f"strangers:{name}", "cpu", "float32", {}, LIMITS)
    assert capfd.readouterr() == ("", "")
    assert not left(b"STRANGER=litters-here")


def test_what_is_not_there_is_said_as_without_a_trial(module: Path) -> None:
    module.write_text("import not_installed_here")
    with pytest.raises(UnknownModel, match="there is no module nowhere"):
        load_any("nowhere.at_all:Model", "cpu", "float32", {}, LIMITS)
    with pytest.raises(MissingDependency, match="not_installed_here"):
        load_any("strangers:Good", "cpu", "float32", {}, LIMITS)


def test_options_have_to_be_plain() -> None:
    assert "plain values" in refusal("Good", factor=lambda: 1)


def children() -> list[int]:
    """Processes of this one that have not ended."""
    found = []
    for pid in alive():
        with suppress(OSError):  # it has ended since
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1] == str(ME):
                found.append(pid)
    return found


def left(mark: bytes) -> list[int]:
    """Processes with that in their environment which do not end; a killed one is there until its memory is freed."""
    until = time.monotonic() + 20
    while (found := [pid for pid in alive() if mark in environment(pid)]) and time.monotonic() < until:
        time.sleep(0.02)
    return found


def alive() -> list[int]:
    """Processes of the machine that have not ended."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.append(int(entry.name))
    return found


def environment(pid: int) -> bytes:
    """What a process was started with; nothing where that is not told."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""
