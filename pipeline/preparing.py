"""Prepares frames for models that look on besides, on threads of theirs: nobody else waits for one that hangs."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from models.base import Pixels
from pipeline.batching import Batcher, Encoded


@dataclass(slots=True)
class _Item:
    pixels: Pixels | None
    """None once they were taken, or given up."""
    done: "Future[Encoded]"
    took_s: Callable[[float], None]

    def take(self, _: object = None) -> Pixels | None:
        """The pixels, which are large: nobody has them longer than it needs them."""
        pixels, self.pixels = self.pixels, None
        return pixels


class Preparer:
    """Hands what a model's `preprocess` gives on to its batches. Callers bound how much they queue."""

    def __init__(self, name: str, preprocess: Callable[[Pixels], Any], batcher: Batcher, *, workers: int) -> None:
        """`workers`: most threads; none before there is something to do."""
        self._name, self._preprocess, self._batcher, self._workers = name, preprocess, batcher, workers
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()

    def submit(self, pixels: Pixels, took_s: Callable[[float], None]) -> "Future[Encoded]":
        """Queue uint8 [N, H, W, 3]; the future gives one row each, or what the model raised. `took_s` is told how long
        they were prepared, seconds, before that."""
        done: Future[Encoded] = Future()
        item = _Item(pixels, done, took_s)
        # Where all threads hang, nobody else would let go of what is given up.
        done.add_done_callback(item.take)
        self._queue.put(item)
        with self._starting:
            if len(self._threads) < self._workers:
                # Not of a pool, whose threads the end of the process waits for.
                name = f"prepare-{self._name}-{len(self._threads)}"
                self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
                self._threads[-1].start()
        return done

    def close(self, within_s: float | None = None) -> bool:
        """Finish what is queued and end the threads; whether they ended in time. `within_s`: None for any time."""
        for _ in self._threads:
            self._queue.put(None)
        until_s = None if within_s is None else time.monotonic() + within_s
        for thread in self._threads:
            thread.join(None if until_s is None else max(0.0, until_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            pixels = item.take()
            if pixels is not None:
                self._prepare(item, pixels)
            del pixels  # the next ones may be long in coming

    def _prepare(self, item: _Item, pixels: Pixels) -> None:
        began = time.perf_counter()
        try:
            frames = self._preprocess(pixels)
        except Exception as error:  # noqa: BLE001 - whatever a model raises belongs to the callers that wait for it
            if item.done.set_running_or_notify_cancel():
                item.done.set_exception(error)
        else:
            item.took_s(time.perf_counter() - began)
            self._batcher.submit(frames, len(pixels), item.done)
