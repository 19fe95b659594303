"""Batches that find too little memory, and batches that wait for more."""

import logging
import threading
import time

import numpy as np
import pytest
import torch

from models.base import FrameModel, ModelInfo
from models.memory import out_of_memory
from pipeline.batching import Batcher
from pipeline.engine import EngineOptions, LocalEngine


class Cramped:
    """A model that has room for so many frames at once."""

    def __init__(self, room: int, error: Exception) -> None:
        self.room, self.error = room, error
        self.sizes: list[int] = []

    def __call__(self, frames):
        if len(frames) > self.room:
            raise self.error
        self.sizes.append(len(frames))
        return frames * 2


def _batcher(encode, **changes) -> Batcher:
    return Batcher("test", encode, np.concatenate, **{"batch_size": 32, "workers": 1} | changes)


def _rows(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.float32)[:, None]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()], ids=["gpu", "machine"])
def test_too_little_memory_halves_the_batches_from_then_on(error, caplog):
    model = Cramped(5, error)
    batcher = _batcher(model)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(batcher.submit(_rows(32), 32).result(10).array, _rows(32) * 2)
    assert batcher.batch_size == 4
    assert "from now on 4" in caplog.text
    waiting = [batcher.submit(_rows(2), 2) for _ in range(8)]
    for future in waiting:
        np.testing.assert_array_equal(future.result(10).array, _rows(2) * 2)
    batcher.close()
    assert max(model.sizes) <= 4


def test_what_is_larger_than_what_was_learnt_does_not_fail_first_each_time():
    model = Cramped(5, MemoryError())
    refused = []

    def encode(frames):
        try:
            return model(frames)
        except MemoryError:
            refused.append(len(frames))
            raise

    batcher = _batcher(encode)
    for count in (32, 32, 7):
        np.testing.assert_array_equal(batcher.submit(_rows(count), count).result(10).array, _rows(count) * 2)
    batcher.close()
    assert refused == [32, 16, 8]


def test_a_frame_for_which_there_is_no_memory_is_an_error():
    batcher = _batcher(Cramped(0, MemoryError("none left")))
    with pytest.raises(MemoryError, match="none left"):
        batcher.submit(_rows(8), 8).result(10)
    batcher.close()


def test_other_errors_are_not_tried_again():
    tried = []

    def encode(frames):
        tried.append(len(frames))
        raise RuntimeError("the weights are wrong")

    batcher = _batcher(encode)
    with pytest.raises(RuntimeError, match="weights"):
        batcher.submit(_rows(8), 8).result(10)
    batcher.close()
    assert tried == [8]
    assert batcher.batch_size == 32


def test_torch_says_so_of_a_real_allocation():
    """As much as no machine has, asked for by as many frames as a batch: torch's CPU allocator, not one of ours."""

    def encode(frames):
        return frames if len(frames) <= 3 else torch.empty(len(frames) << 50).numpy()

    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert out_of_memory(caught.value)
    batcher = _batcher(encode)
    np.testing.assert_array_equal(batcher.submit(_rows(8), 8).result(60).array, _rows(8))
    batcher.close()
    assert batcher.batch_size == 2


class Roomy(FrameModel):
    """Gives the mean of each frame; has room for four at once."""

    info = ModelInfo(name="roomy", version="1", space="s", dim=1, kind="measurement", columns=("mean",))

    def run(self, pixels):
        if len(pixels) > 4:
            raise MemoryError
        return pixels.reshape(len(pixels), -1).mean(axis=1, keepdims=True).astype(np.float32)


def test_an_engine_tells_what_has_become_of_its_batches():
    options = EngineOptions(decode_threads=1, batch_size=16, batch_sizes={"second": 8})
    engine = LocalEngine({"first": Roomy(), "second": Roomy()}, decoder=None, options=options)
    assert engine.batch_sizes() == {"first": 16, "second": 8}
    assert engine.shrunk() == {}
    frames = np.zeros((6, 4, 4, 3), np.uint8)
    engine._batchers["second"].submit(frames, len(frames)).result(10)
    assert engine.shrunk() == {"second": (8, 3)}
    engine.close()


def test_a_lone_submission_waits_no_longer_than_it_may():
    batcher = _batcher(lambda frames: frames, wait_s=0.15)
    began = time.monotonic()
    batcher.submit(_rows(1), 1).result(10)
    took_s = time.monotonic() - began
    batcher.close()
    assert took_s >= 0.15
    # Twice the wait, and what a busy machine adds.
    assert took_s < 8.0


def test_a_full_batch_does_not_wait_at_all():
    batcher = _batcher(lambda frames: frames, wait_s=30.0)
    began = time.monotonic()
    batcher.submit(_rows(32), 32).result(10)
    assert time.monotonic() - began < 10.0
    batcher.close()


def test_those_that_come_within_the_wait_go_together():
    sizes, gate = [], threading.Event()

    def encode(frames):
        gate.wait(10)
        sizes.append(len(frames))
        return frames

    batcher = _batcher(encode, wait_s=5.0, batch_size=4)
    waiting = [batcher.submit(_rows(1), 1) for _ in range(4)]
    gate.set()
    for future in waiting:
        future.result(10)
    batcher.close()
    assert sizes == [4]
