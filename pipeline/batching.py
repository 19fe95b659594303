"""Batches frames for a model across Clips and videos: a thread per worker takes what has gathered and runs it."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

T = TypeVar("T")


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
    """Joins submissions of one model into batches of up to `batch_size` frames; one that is larger stays whole.

    It never waits for a batch to fill: while a batch runs, the next one gathers, so batches are large exactly when
    there is a backlog and a lone frame is not held up.
    """

    def __init__(
        self,
        name: str,
        encode: Callable[[Any], np.ndarray],
        join: Callable[[list[Any]], Any],
        *,
        batch_size: int,
        workers: int,
        on_start: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._encode = encode
        self._join = join
        self._batch_size = batch_size
        self._queue: queue.Queue[_Item | None] = queue.Queue()
        self._on_start = on_start
        self._threads = [
            threading.Thread(target=self._work, name=f"infer-{name}-{n}", daemon=True) for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, frames: Any, count: int) -> "Future[Encoded]":
        """Queue `count` preprocessed frames; the future gives one row each. Callers bound how much they queue."""
        done: Future[Encoded] = Future()
        self._queue.put(_Item(frames, count, done))
        return done

    def close(self) -> None:
        """Finish what is queued and end the threads."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        self._on_start()
        held: _Item | None = None
        while (first := held or self._queue.get()) is not None:
            items, held = [first], None
            total = first.count
            while total < self._batch_size:
                try:
                    item = self._queue.get_nowait()
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
            rows = self._encode(self._join([item.frames for item in items]))
            if len(rows) != total:
                raise ValueError(f"model {self._name} gave {len(rows)} rows for {total} frames")
        except Exception as error:  # noqa: BLE001 - whatever a model raises belongs to the callers that wait for it
            for item in items:
                item.done.set_exception(error)
            return
        share_s = (time.perf_counter() - began) / max(total, 1)
        start = 0
        for item in items:
            item.done.set_result(Encoded(rows[start : start + item.count], share_s * item.count))
            start += item.count
