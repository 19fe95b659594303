"""Whether a model keeps the contract of `models.base`: a table of small checks, each with a result in a line.

    from models.conformance import checks

    def test_it_keeps_the_contract():
        for result in checks(MyModel(), MyModel):
            assert result.state != "failed", result

The same as `automations models check NAME`, which runs them in a process of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from models.base import FrameModel, Head, ModelInfo
from models.custom import told
from models.errors import BadModel, BadWeights
from models.trial import LIMITS, Limits, Request, converse

if TYPE_CHECKING:
    from models.device import Placement

State = Literal["passed", "failed", "skipped"]

TOLERANCES = {"float32": 1e-3, "bfloat16": 3e-2}
"""By the arithmetic: how far two answers that have to be the same may be apart. Of values above 1, times them."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found."""

    name: str
    state: State
    said: str
    """One line: what was seen, or why it failed or was skipped."""
    seconds: float

    def __str__(self) -> str:
        return f"{self.name}: {self.state}, {self.said}"


@dataclass(frozen=True, slots=True)
class Check:
    """One demand on a model."""

    name: str
    demand: str
    """What it asks for, in a line."""
    run: Callable[[Subject], str]
    """Gives what was seen; raises Failed or Skipped. Anything else that it raises, the model raised."""


class Failed(Exception):
    """The model does not do what it has to."""


class Skipped(Exception):
    """The check says nothing of such a model, or cannot be done here."""


class Subject:
    """A model that is checked, and what it is shown. Everything shown is the same in every run."""

    def __init__(self, model: FrameModel | Head, make: Callable[..., FrameModel | Head] | None = None) -> None:
        """
        Args:
            make: makes the model anew; it is called with nothing, and with `device="cpu"` where it takes that.
        """
        self.model: Any = model
        self.make = make
        self.looks_at_frames = hasattr(model, "preprocess")

    @property
    def info(self) -> ModelInfo:
        return self.model.info

    @property
    def tolerance(self) -> float:
        return TOLERANCES.get(self.info.dtype, TOLERANCES["bfloat16"])

    @cached_property
    def width(self) -> int:
        """Columns of the vectors that a head reads. Raises Skipped where it does not tell."""
        if not hasattr(self.model, "example"):
            raise Skipped("a head is shown vectors like those of its `example()`, which this one does not have")
        return np.asarray(self.model.example()).shape[1]

    def shown(self, count: int, height: int = 90, width: int = 160) -> np.ndarray:
        """Noise, the later the brighter: uint8 [count, height, width, 3]; of a head vectors, float32 [count, D]."""
        rng = np.random.default_rng(count)
        if not self.looks_at_frames:
            rows = rng.standard_normal((count, self.width))
            return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)).astype(np.float32)
        noise = rng.integers(0, 128, (count, height, width, 3))
        return (noise + np.linspace(0, 127, count).astype(int)[:, None, None, None]).astype(np.uint8)

    def rows(self, shown: Any) -> np.ndarray:
        """The model's answer to a copy of that, whose rows it can be compared by.

        Raises:
            Failed: it has no such shape.
        """
        return self.answer(shown, self.model.run(shown.copy()))

    def answer(self, shown: Any, rows: Any) -> np.ndarray:
        """`rows`, if they are as many as what was shown. Raises Failed."""
        if np.shape(rows) != (len(shown), self.info.dim):
            raise Failed(f"{list(np.shape(rows))} for {len(shown)}, not {[len(shown), self.info.dim]}")
        return np.asarray(rows)

    def require_alike(self, one: np.ndarray, other: np.ndarray, what: str) -> str:
        """Says how far apart they are. Raises Failed where that is too far."""
        apart = float(np.max(np.abs(one - other) / np.maximum(1.0, np.abs(other)), initial=0.0))
        if not apart <= self.tolerance:  # NaN is not
            raise Failed(f"{what} differ by {apart:.2g}, more than {self.tolerance:g}")
        return f"{what} differ by {apart:.1g} at most"


def checks(model: FrameModel | Head, make: Callable[..., FrameModel | Head] | None = None) -> Iterator[Result]:
    """The result of each check, one after the other as they are done.

    Args:
        make: makes the model anew, such as its class; without it, what needs a second one is skipped.
    """
    from models.conformance_checks import CHECKS

    subject = Subject(model, make)
    for check in CHECKS:
        yield run(check, subject)


def run(check: Check, subject: Subject) -> Result:
    """Do one of them. Raises nothing."""
    began = time.perf_counter()
    state: State = "passed"
    try:
        said = check.run(subject)
    except Failed as error:
        state, said = "failed", str(error)
    except Skipped as error:
        state, said = "skipped", str(error)
    except Exception as error:  # noqa: BLE001 - a model may raise anything
        state, said = "failed", told(error)
    return Result(check.name, state, said, time.perf_counter() - began)


def at_once(functions: list[Callable[[], Any]]) -> list[Any]:
    """What each gives, all begun at the same moment in threads of their own. Raises what the first of them raised."""
    begin = threading.Barrier(len(functions))
    answers: list[Any] = [None] * len(functions)
    raised: list[BaseException] = []

    def one(place: int, function: Callable[[], Any]) -> None:
        begin.wait()
        try:
            answers[place] = function()
        except Exception as error:  # noqa: BLE001 - raised again below
            raised.append(error)

    threads = [threading.Thread(target=one, args=item, daemon=True) for item in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]
    return answers


def check_elsewhere(
    name: str,
    placement: Placement,
    options: Mapping[str, Any],
    limits: Limits = LIMITS,
    heard: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """Load a model in a process of its own and do all checks there. None of what it does reaches this process.

    Args:
        limits: of loading it, and of each check.
        heard: is given each result as soon as it is there.

    Returns:
        The results, `loads` the first of them; where a check ended the process, that is the last.

    Raises:
        ModelError: there is no such model, or no process to be had.
    """
    from models.conformance_checks import CHECKS

    results: list[Result] = []
    began = time.perf_counter()

    def take(result: Result) -> None:
        results.append(result)
        heard(result)

    try:
        request = Request("check", name, placement.device, placement.dtype, options)
        converse(request, limits, lambda message: take(Result(**message["check"])))
    except (BadModel, BadWeights) as error:
        ended_in = "loads" if not results else CHECKS[len(results) - 1].name
        spent = time.perf_counter() - began - sum(result.seconds for result in results)
        take(Result(ended_in, "failed", str(error), spent))
    return results
