"""Decode and infer in one place: a Clip goes in, small arrays come out, and frames never leave."""

import asyncio
import os
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np

from models.base import FrameModel
from pipeline.batching import Batcher, Encoded
from pipeline.checking import failed_by, require_rows
from pipeline.clips import Clip
from pipeline.decode.base import Decoded, Decoder
from pipeline.frames import ClipOutput


class Engine(Protocol):
    """What runs Clips: in this process, or (later) on a replica elsewhere."""

    async def run(self, clip: Clip) -> ClipOutput:
        """Decode the Clip and run every model of this engine on its wanted frames."""
        ...

    async def check(self) -> None:
        """Have every model compute something. Raises CheckFailed where one does not."""
        ...


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a LocalEngine uses the machine."""

    decode_threads: int = os.cpu_count() or 1
    """Clips decoded at the same time, one thread each."""
    infer_workers: int = 1
    """Threads that run models."""
    torch_threads: int | None = None
    """Threads inside one forward pass; None leaves torch's own choice."""
    batch_size: int = 32
    """Most frames in one forward pass."""
    clips_in_flight: int = (os.cpu_count() or 1) + 2
    """Clips that may be decoded, waiting or inferred at once: this bounds the memory, whatever the video's length."""


class LocalEngine:
    """An Engine in this process. Decoding runs ahead of the models by a bounded number of Clips."""

    def __init__(
        self, models: Mapping[str, FrameModel], decoder: Decoder, options: EngineOptions | None = None
    ) -> None:
        self.models = dict(models)
        self.decoder = decoder
        self.options = options or EngineOptions()
        # A semaphore belongs to one event loop; an engine may outlive several.
        self._slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
        self._pool = ThreadPoolExecutor(self.options.decode_threads, thread_name_prefix="decode")
        self._batchers = {name: self._batcher(name, model) for name, model in self.models.items()}

    async def run(self, clip: Clip) -> ClipOutput:
        """See `Engine.run`. Any number of calls may be under way; they wait for a slot."""
        loop = asyncio.get_running_loop()
        async with self._slots.setdefault(loop, asyncio.Semaphore(self.options.clips_in_flight)):
            decoded, preprocess_s, futures = await loop.run_in_executor(self._pool, self._decode, clip)
            encoded = {name: await asyncio.wrap_future(future) for name, future in futures.items()}
        return ClipOutput(
            chain=clip.chain,
            part=clip.part,
            rows=decoded.rows,
            pts_s=decoded.pts_s,
            arrays={name: answer.array for name, answer in encoded.items()},
            strip=decoded.strip,
            packets=len(clip.packets),
            decode_s=decoded.decode_s,
            preprocess_s=preprocess_s,
            infer_s=sum(answer.infer_s for answer in encoded.values()),
        )

    async def check(self) -> None:
        """Run every model on its own example, on the way of all frames and behind those that wait.

        Raises:
            CheckFailed: one gave no answer of the right shape, or none at all; says which.
        """
        for name, model in self.models.items():
            with failed_by(name):
                frames = await asyncio.to_thread(model.preprocess, pixels := model.example())
                answer = await asyncio.wrap_future(self._batchers[name].submit(frames, len(pixels)))
                require_rows(answer.array, len(pixels), model.info)

    def close(self) -> None:
        """End the threads; what is under way is finished first."""
        self._pool.shutdown()
        for batcher in self._batchers.values():
            batcher.close()

    def _decode(self, clip: Clip) -> tuple["_Kept", float, dict[str, "Future[Encoded]"]]:
        """Decode and preprocess on this thread; full-size pixels are gone when it returns."""
        decoded = self.decoder.decode(clip)
        began = time.perf_counter()
        pixels = decoded.frames.pixels
        futures = {}
        if len(decoded.frames):
            for name, model in self.models.items():
                futures[name] = self._batchers[name].submit(model.preprocess(pixels), len(decoded.frames))
        preprocess_s = time.perf_counter() - began
        return _Kept(decoded), preprocess_s, futures

    def _batcher(self, name: str, model: FrameModel) -> Batcher:
        return Batcher(
            name,
            model.encode,
            _join,
            batch_size=self.options.batch_size,
            workers=self.options.infer_workers,
            on_start=self._use_threads,
        )

    def _use_threads(self) -> None:
        if self.options.torch_threads is not None:
            import torch

            torch.set_num_threads(self.options.torch_threads)


class _Kept:
    """What outlives the pixels of a decoded Clip."""

    __slots__ = ("decode_s", "pts_s", "rows", "strip")

    def __init__(self, decoded: Decoded) -> None:
        self.rows = decoded.rows
        self.pts_s = decoded.frames.pts_s
        self.strip = decoded.strip
        self.decode_s = decoded.decode_s


def _join(batches: list[Any]) -> Any:
    """One batch of several, along the first axis, in the array library that they came in."""
    if len(batches) == 1:
        return batches[0]
    if isinstance(batches[0], np.ndarray):
        return np.concatenate(batches)
    import torch

    return torch.cat(batches)
