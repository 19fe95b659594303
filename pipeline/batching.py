"""Batches frames for a model across Clips and videos: a thread per worker takes what has gathered and runs it."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from models.memory import out_of_memory
from pipeline.allocator import free_memory
from pipeline.report import Notice

T = TypeVar("T")

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A model's answer for one submission."""

    array: np.ndarray
    """float32 [N, D]."""
    infer_s: float
    """Seconds of the forward passes, this submission's share."""


@dataclass(frozen=True, slots=True)
class _Item(Generic[T]):
    frames: Any
    count: int
    done: "Future[Encoded]"


class Batcher:
    """Joins submissions of one model into batches of up to `batch_size` frames; one that is larger is run in parts.

    While a batch runs, the next one gathers, so that batches are large exactly when there is a backlog. For one that is
    not full yet when its turn comes, `wait_s` may be waited; without it, a lone frame is not held up at all.

    A batch that finds too little memory is run again in halves, and from then on batches are no larger than that.
    """

    def __init__(
        self,
        name: str,
        encode: Callable[[Any], np.ndarray],
        join: Callable[[list[Any]], Any],
        *,
        batch_size: int,
        workers: int,
        wait_s: float = 0.0,
        on_start: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            encode: a joined batch of N frames -> N rows.
            join: batches of frames -> one.
            wait_s: how long at most a batch that is not full waits for more, seconds.
            on_start: is called on each of the threads, first.
        """
        self._name = name
        self._encode = encode
        self._join = join
        self._batch_size = batch_size
        self._wait_s = wait_s
        self._queue: queue.Queue[_Item | None] = queue.Queue()
        self._on_start = on_start
        self._threads = [
            threading.Thread(target=self._work, name=f"infer-{name}-{n}", daemon=True) for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, frames: Any, count: int, done: "Future[Encoded] | None" = None) -> "Future[Encoded]":
        """Queue `count` preprocessed frames; the future, `done` where there is one, gives one row each. Callers bound
        how much they queue."""
        done = Future() if done is None else done
        self._queue.put(_Item(frames, count, done))
        return done

    @property
    def batch_size(self) -> int:
        """Most frames of a batch: as it was made, or fewer where there was too little memory for that."""
        return self._batch_size

    def close(self, within_s: float | None = None) -> bool:
        """Finish what is queued and end the threads; whether they ended in time. `within_s`: None for any time."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(within_s)
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        self._on_start()
        held: _Item | None = None
        while (first := held or self._queue.get()) is not None:
            items, held = [first], None
            total = first.count
            until_s = time.monotonic() + self._wait_s
            while total < self._batch_size:
                try:
                    item = self._queue.get(timeout=max(0.0, until_s - time.monotonic()))
                except queue.Empty:
                    break
                if item is None:
                    self._queue.put(None)
                    break
                if total + item.count > self._batch_size:
                    held = item
                    break
                items.append(item)
                total += item.count
            # Those whose caller has given up meanwhile are left out; the others can no longer be cancelled.
            items = [item for item in items if item.done.set_running_or_notify_cancel()]
            if items:
                self._run(items, sum(item.count for item in items))

    def _run(self, items: list[_Item], total: int) -> None:
        began = time.perf_counter()
        try:
            rows = self._rows(self._join([item.frames for item in items]), total)
        except Exception as error:  # noqa: BLE001 - whatever a model raises belongs to the callers that wait for it
            if len(items) == 1:
                items[0].done.set_exception(error)
                return
            # It may be the fault of one of them, which the others are not to pay for.
            for item in items:
                self._run([item], item.count)
            return
        share_s = (time.perf_counter() - began) / max(total, 1)
        start = 0
        for item in items:
            item.done.set_result(Encoded(rows[start : start + item.count], share_s * item.count))
            start += item.count

    def _rows(self, frames: Any, count: int) -> np.ndarray:
        """The model's answer, in parts of `batch_size` frames, and of fewer where there is too little memory."""
        most = self._batch_size
        while True:
            try:
                parts = [self._encode(frames[at : at + most]) for at in range(0, count, most)] if most < count else None
                rows = self._encode(frames) if parts is None else np.concatenate(parts)
                break
            except Exception as error:
                if most == 1 or count == 1 or not out_of_memory(error):
                    raise
            most = max(1, min(most, count) // 2)
            self._batch_size = min(self._batch_size, most)
            _LOG.warning("too little memory for %d frames at once in %s: from now on %d", most * 2, self._name, most)
            free_memory()
        if len(rows) != count:
            raise ValueError(f"model {self._name} gave {len(rows)} rows for {count} frames")
        return rows


def joined(batches: list[Any]) -> Any:
    """One batch of several, along the first axis, in the array library that they came in."""
    if len(batches) == 1:
        return batches[0]
    if isinstance(batches[0], np.ndarray):
        return np.concatenate(batches)
    import torch

    return torch.cat(batches)


def smaller_batches(
    shrunk: Mapping[str, tuple[int, int]], called: Mapping[str, str], advice: str = "give it more memory"
) -> tuple[Notice, ...]:
    """What whoever uses an engine should know of its batches.

    Args:
        shrunk: see `LocalEngine.shrunk`.
        called: names of models in the engine -> those that people know.
    """
    return tuple(
        Notice(
            code="smaller_batches",
            message=f"{called.get(name, name)} finds too little memory for {asked} frames at once, and is given "
            f"{most}: {advice}",
        )
        for name, (asked, most) in shrunk.items()
    )
