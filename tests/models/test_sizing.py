"""Batch sizes found by measuring: on a clock that the models themselves set forward, and on a real model."""

import json
import logging
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from models import sizing
from models.base import FrameModel, ModelInfo
from models.catalog import load


class Timed(FrameModel):
    """Takes as long as it is told to, by its own clock."""

    def __init__(
        self, fixed_s: float, each_s: float, *, room: int = 10_000, error: type[Exception] = MemoryError
    ) -> None:
        self.info = ModelInfo(name="timed", version="1", space=f"{fixed_s}-{each_s}-{room}", dim=2)
        self.fixed_s, self.each_s, self.room, self.error = fixed_s, each_s, room, error
        self.now_s = 0.0
        self.tried: list[int] = []

    def run(self, pixels: np.ndarray) -> np.ndarray:
        if len(pixels) > self.room:
            raise self.error("no more of it")
        self.tried.append(len(pixels))
        self.now_s += self.fixed_s + self.each_s * len(pixels)
        return np.ones((len(pixels), 2), np.float32)


def measured(model: Timed, limit_s: float = 1000.0) -> sizing.Sizing:
    return sizing.measure(model, limit_s=limit_s, clock=lambda: model.now_s)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizing, "_known", {})


@pytest.mark.parametrize(
    ("fixed_s", "each_s", "batch_size"),
    # The rate of n is n / (fixed + each n): within 5 % of the best once n >= 19 fixed / each (or of that of 256).
    [(0.0, 0.1, 1), (0.1, 0.1, 16), (0.4, 0.1, 64), (10.0, 0.001, 256)],
)
def test_the_smallest_size_that_is_as_good_as_the_best(fixed_s: float, each_s: float, batch_size: int) -> None:
    model = Timed(fixed_s, each_s)
    found = measured(model)
    rates = {count: count / (fixed_s + each_s * count) for count in found.images_per_s}
    assert found.images_per_s == pytest.approx(rates, rel=1e-3)
    best = max(rates.values())
    assert found.batch_size == min(count for count in rates if rates[count] >= 0.95 * best)
    assert found.batch_size in (batch_size, batch_size * 2)


def test_a_flat_rate_ends_early() -> None:
    model = Timed(0.0, 0.1)
    found = measured(model)
    assert found.ended == "flat"
    assert max(model.tried) <= 8


def test_time_ends_it() -> None:
    model = Timed(0.5, 0.001)
    found = measured(model, limit_s=4.0)
    assert found.ended == "time"
    assert model.now_s <= 4.0
    assert found.batch_size == max(found.images_per_s) < 256


def test_a_slow_model_is_asked_for_one_frame_only() -> None:
    model = Timed(0.0, 30.0)
    assert measured(model, limit_s=2.0).batch_size == 1
    assert model.tried == [1, 1], "one to warm up, one to measure"


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_too_little_memory_ends_it(error: type[Exception]) -> None:
    model = Timed(1.0, 0.001, room=20, error=error)
    found = measured(model)
    assert (found.ended, found.batch_size) == ("memory", 16)


def test_other_errors_are_the_models() -> None:
    with pytest.raises(KeyError):
        measured(Timed(1.0, 0.001, room=20, error=KeyError))
    with pytest.raises(MemoryError):
        measured(Timed(1.0, 0.001, room=0))


def test_what_was_found_out_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Timed(0.001, 0.0)
    found = sizing.size(first, folder=tmp_path, limit_s=0.5)
    assert first.tried
    again = Timed(0.001, 0.0)
    assert sizing.size(again, folder=tmp_path) == found
    monkeypatch.setattr(sizing, "_known", {})
    assert sizing.size(again, folder=tmp_path) == found
    assert not again.tried, "it was measured again, though it is on the disk"
    other = Timed(0.002, 0.0)
    sizing.size(other, folder=tmp_path, limit_s=0.5)
    assert other.tried, "another model was taken for it"
    assert len(list((tmp_path / "batch-sizes").iterdir())) == 2


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"batch_size": 0, "images_per_s": {}, "ended": "most"}', "\udc80"]
)
def test_a_damaged_file_is_measured_around(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sizing.size(Timed(0.001, 0.0), folder=tmp_path, limit_s=0.5)
    (file,) = (tmp_path / "batch-sizes").iterdir()
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    monkeypatch.setattr(sizing, "_known", {})
    model = Timed(0.001, 0.0)
    with caplog.at_level(logging.WARNING):
        sizing.size(model, folder=tmp_path, limit_s=0.5)
    assert model.tried
    assert "measured again" in caplog.text
    assert json.loads(file.read_text())["batch_size"] >= 1


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        assert sizing.size(Timed(0.001, 0.0), folder=tmp_path / "file", limit_s=0.5).batch_size >= 1
    assert "cannot be kept" in caplog.text


def test_a_real_model_in_bounded_time(tmp_path: Path) -> None:
    model = load("bundled", "cpu", "float32").model
    began = time.perf_counter()
    found = sizing.size(model, folder=tmp_path)
    first_s = time.perf_counter() - began
    assert 1 <= found.batch_size <= 256
    began = time.perf_counter()
    sizing.size(model, folder=tmp_path)
    assert time.perf_counter() - began < first_s / 2


def test_the_arithmetic_is_part_of_the_identity() -> None:
    plain, half = (load("bundled", "cpu", dtype).model for dtype in ("float32", "bfloat16"))
    assert plain.info.space == half.info.space
    assert sizing.identity(plain) != sizing.identity(half)
