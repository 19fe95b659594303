"""The contract: kept by the project's own models, and for each check a model that fails just that one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models import conformance, conformance_checks
from models.base import Head, ModelInfo, Score
from models.catalog import load_any
from models.conformance import Subject, checks, run
from models.conformance_checks import CHECKS
from models.device import Placement
from models.errors import BadModel
from models.frame_stats import FrameStats
from models.head_card import HeadCard
from models.heads import Layer, MlpHead
from tests.models.misfits import (
    BadExample,
    DividesByContrast,
    Double,
    GivesWhatItGot,
    GoesByItsBatch,
    Good,
    Keeps,
    KeepsTheLast,
    LongTexts,
    LosesOne,
    NumpyOnly,
    OtherInStages,
    OtherSpaces,
    OtherTheSecondTime,
    Overwrites,
    Shares,
    Sorts,
    SpaceOfItsProcess,
    TooSure,
    Undeclared,
    WantsFrames,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance_checks, "SPEED_S", 0.01)
    monkeypatch.setattr(conformance_checks, "MEMORY_S", 0.0)


def states(model: Any, make: Callable[..., Any] | None = None) -> dict[str, str]:
    return {result.name: result.state for result in checks(model, make)}


def mlp_head() -> MlpHead:
    rng = np.random.default_rng(0)
    layers = [
        Layer(rng.standard_normal((5, 16)).astype(np.float32), np.zeros(5, np.float32)),
        Layer(rng.standard_normal((2, 5)).astype(np.float32), np.zeros(2, np.float32)),
    ]
    card = HeadCard(
        name="two", encoder="bundled", space="0123", dim=16, labels=(Score("one"), Score("two")), activation="relu"
    )
    return MlpHead(layers, card, "head:two")


def own(name: str, **options: Any) -> Callable[..., Any]:
    return lambda device="cpu": load_any(name, device, "float32", options).model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "skipped"),
    [
        pytest.param(own("bundled"), {"gpu"}, id="bundled"),
        pytest.param(own("classifier:squeezenet1_1/random", labels=["a", "b"]), {"gpu", "texts"}, id="classifier"),
        pytest.param(FrameStats, {"bounds", "gpu", "texts"}, id="frame-stats"),
        pytest.param(mlp_head, {"arrays", "gpu", "stages", "texts"}, id="head"),
    ],
)
def test_the_projects_own_models_keep_it(make: Callable[..., Any], skipped: set[str]) -> None:
    results = list(checks(make(), make))
    assert [result.name for result in results] == [check.name for check in CHECKS]
    for result in results:
        assert result.state == ("skipped" if result.name in skipped else "passed"), result


@pytest.mark.parametrize(
    ("kind", "fails"),
    [
        (Good, None),
        (Undeclared, "declared"),
        (BadExample, "example"),
        (WantsFrames, "empty"),
        (LosesOne, "shapes"),
        (Double, "dtype"),
        (DividesByContrast, "finite"),
        (TooSure, "bounds"),
        (OtherTheSecondTime, "deterministic"),
        (GoesByItsBatch, "batches"),
        (Sorts, "order"),
        (OtherInStages, "stages"),
        (Overwrites, "untouched"),
        (GivesWhatItGot, "untouched"),
        (KeepsTheLast, "untouched"),
        (Shares, "threads"),
        (Keeps, "memory"),
        (NumpyOnly, "arrays"),
        (LongTexts, "texts"),
        (OtherSpaces, "space"),
        (SpaceOfItsProcess, "space"),
    ],
)
def test_each_check_has_a_model_that_fails_just_that_one(kind: type, fails: str | None) -> None:
    # Where that is not what is looked at, by a function that no other process is started for.
    make = kind if fails in (None, "space") else lambda: kind()
    results = list(checks(kind(), make))
    assert [result.name for result in results if result.state == "failed"] == ([fails] if fails else []), results
    assert all(result.said and "\n" not in result.said for result in results)


def test_a_gpu_that_gives_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnGpu(Good):
        info = ModelInfo(
            name="b", version="1", space="s", dim=1, kind="scores", device="cuda:0", scores=(Score("bright"),)
        )

        def __init__(self, device: str = "cuda:0") -> None:
            self.off = np.float32(0.2 if device == "cuda:0" else 0)

        def run(self, pixels: Any) -> np.ndarray:
            return super().run(pixels) + self.off

    (check,) = (check for check in CHECKS if check.name == "gpu")
    assert run(check, Subject(OnGpu(), OnGpu)).said == "cuda:0 (float32) and the CPU differ by 0.2"
    assert run(check, Subject(OnGpu("cpu"), OnGpu)).state == "passed"
    assert run(check, Subject(OnGpu(), None)).state == "skipped"


def test_a_head_without_an_example_is_not_judged_by_what_it_cannot_be_shown() -> None:
    class Bare(Head):
        info = GivesWhatItGot.info

        def run(self, vectors: np.ndarray) -> np.ndarray:
            return vectors[:, :1].copy()

    found = states(Bare())
    assert found["declared"] == "passed"
    assert set(found.values()) == {"passed", "skipped"}


def test_whatever_a_model_raises_is_a_result() -> None:
    class Raises(Good):
        def run(self, pixels: Any) -> np.ndarray:
            raise RuntimeError("no\nluck")

    results = {result.name: result for result in conformance.checks(Raises())}
    assert results["dtype"].state == "failed"
    assert results["dtype"].said == "RuntimeError: no"


@pytest.mark.parametrize(("heard", "ended_in"), [(0, "loads"), (1, "declared"), (4, CHECKS[3].name)])
def test_what_ends_the_process_is_the_check_that_failed(
    heard: int, ended_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["loads", *(check.name for check in CHECKS)]

    def converse(request: Any, limits: Any, hear: Callable[[Any], None]) -> None:
        assert (request.task, request.name, request.options) == ("check", "mine:Model", {"factor": 2})
        for name in names[:heard]:
            hear({"check": {"name": name, "state": "passed", "said": "fine", "seconds": 0.0}})
        raise BadModel("it crashed")

    monkeypatch.setattr(conformance, "converse", converse)
    shown: list[Any] = []
    results = conformance.check_elsewhere(
        "mine:Model", Placement("cpu", "float32", "", 1), {"factor": 2}, heard=shown.append
    )
    assert [result.name for result in results] == [*names[:heard], ended_in]
    assert (results[-1].state, results[-1].said) == ("failed", "it crashed")
    assert shown == results
