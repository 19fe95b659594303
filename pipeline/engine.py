"""Decode and infer in one place: a Clip goes in, small arrays come out, and frames never leave."""

import asyncio
import os
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast
from weakref import WeakKeyDictionary

import numpy as np

from models.base import FrameModel, Head, Pixels
from pipeline import stills
from pipeline.batching import Batcher, Encoded, joined
from pipeline.checking import failed_by, require_rows, told
from pipeline.clips import Clip
from pipeline.decode.base import Decoded, Decoder
from pipeline.frames import ClipOutput
from pipeline.preparing import Preparer

#: What is said of a model that hangs, and how long its thread has for its end, seconds.
_HUNG: Final = "it gave no answer in time, and is not asked again"
_HUNG_END_S: Final = 0.1


class Engine(Protocol):
    """What runs Clips: in this process, or on a replica elsewhere."""

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
    batch_sizes: Mapping[str, int] = field(default_factory=dict)
    """The same for models by their names in the engine, where it differs."""
    clips_in_flight: int = (os.cpu_count() or 1) + 2
    """Clips that may be decoded, waiting or inferred at once: this bounds the memory, whatever the video's length."""
    batch_wait_s: float = 0.0
    """How long at most a batch that is not full waits for more frames, seconds."""
    patience_s: float = 120.0
    """How long an added model may take for a Clip, seconds, those before it in the queue included. One that takes
    longer is taken for hung, and not asked again."""


@dataclass(frozen=True, slots=True)
class Added:
    """A model that an engine runs beside those that its reports are made of. What it fails at is told in
    `ClipOutput.failed`, and costs nobody else anything."""

    model: FrameModel | Head
    of: str | None = None
    """Of a head: the name of the engine's model whose vectors it reads; None: it looks at frames."""

    @property
    def encode(self) -> Callable[[Any], np.ndarray]:
        """What runs in batches."""
        return self.model.run if self.of is not None else cast(FrameModel, self.model).encode

    @property
    def preprocess(self) -> Callable[[Pixels], Any]:
        """What runs on the frames of each Clip before that; not of a head."""
        return cast(FrameModel, self.model).preprocess


class LocalEngine:
    """An Engine in this process. Decoding runs ahead of the models by a bounded number of Clips."""

    def __init__(
        self,
        models: Mapping[str, FrameModel],
        decoder: Decoder,
        options: EngineOptions | None = None,
        added: Mapping[str, Added] | None = None,
    ) -> None:
        """
        Args:
            models: what reports are made of: a Clip that one of them fails at fails.
            added: others, by names of their own.

        Raises:
            ValueError: heads read each other's vectors in a circle.
        """
        self.models = dict(models)
        self.added = dict(added or {})
        self.decoder = decoder
        self.options = options or EngineOptions()
        # A semaphore belongs to one event loop; an engine may outlive several.
        self._slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
        self._pool = ThreadPoolExecutor(self.options.decode_threads, thread_name_prefix="decode")
        self._batchers = {name: self._batcher(name, model.encode) for name, model in self.models.items()}
        self._batchers |= {name: self._batcher(name, one.encode) for name, one in self.added.items()}
        self._in_turn = in_turn(self.added)
        self._preparers = {
            name: Preparer(name, one.preprocess, self._batchers[name], workers=self.options.decode_threads)
            for name, one in self.added.items()
            if one.of is None
        }
        self._hung: set[str] = set()

    async def run(self, clip: Clip, models: Collection[str] | None = None) -> ClipOutput:
        """See `Engine.run`. Any number of calls may be under way; they wait for a slot.

        Args:
            models: names of those that are to run; None: all. The Clip is decoded once for all of them.

        Raises:
            CheckFailed: what a model that reports are made of gives is no answer. What it raises itself comes as it is.
        """
        chosen = (*self.models, *self.added) if models is None else models
        loop = asyncio.get_running_loop()
        async with self._slots.setdefault(loop, asyncio.Semaphore(self.options.clips_in_flight)):
            decoded, preprocess_s, futures = await loop.run_in_executor(self._pool, self._decode, clip, chosen)
            encoded, failed = {}, {}
            for name, future in futures.items():
                if name in self.models:
                    encoded[name] = await asyncio.wrap_future(future)
                    with failed_by(name):
                        require_rows(encoded[name].array, decoded.looked_at, self.models[name].info)
            for name in self._in_turn:
                if name in chosen and decoded.rows:
                    answer = await self._added(name, futures, encoded, decoded.looked_at)
                    if isinstance(answer, str):
                        failed[name] = answer
                    else:
                        encoded[name] = answer
        return ClipOutput(
            chain=clip.chain,
            part=clip.part,
            rows=decoded.rows,
            pts_s=decoded.pts_s,
            arrays={name: answer.array[decoded.same] for name, answer in encoded.items()},
            strip=decoded.strip,
            packets=len(clip.packets),
            decode_s=decoded.decode_s,
            preprocess_s=sum(preprocess_s),
            infer_s=sum(answer.infer_s for answer in encoded.values()),
            decoder=decoded.decoder,
            passed_on=decoded.passed_on,
            reused=len(decoded.rows) - decoded.looked_at,
            failed=failed,
        )

    async def check(self) -> None:
        """Run every model that reports are made of on its own example, on the way of all frames and behind those that
        wait. Added ones are not: an engine that they fail is none the worse for everybody else.

        Raises:
            CheckFailed: one gave no answer of the right shape, or none at all; says which.
        """
        for name, model in self.models.items():
            with failed_by(name):
                frames = await asyncio.to_thread(model.preprocess, pixels := model.example())
                answer = await asyncio.wrap_future(self._batchers[name].submit(frames, len(pixels)))
                require_rows(answer.array, len(pixels), model.info)

    def batch_sizes(self) -> dict[str, int]:
        """Most frames in a batch of each model, see `Batcher.batch_size`."""
        return {name: batcher.batch_size for name, batcher in self._batchers.items()}

    def shrunk(self) -> dict[str, tuple[int, int]]:
        """Models whose batches found too little memory -> most frames that they were to have, and have since then."""
        each = {name: (self._size(name), size) for name, size in self.batch_sizes().items()}
        return {name: (asked, size) for name, (asked, size) in each.items() if size < asked}

    def close(self) -> None:
        """End the threads; what is under way is finished first. What hangs is left behind."""
        self._pool.shutdown()
        for name, preparer in self._preparers.items():
            if not preparer.close(self._end_s(name)):
                self._hung.add(name)
        for name, batcher in self._batchers.items():
            batcher.close(self._end_s(name))

    def _decode(self, clip: Clip, chosen: Collection[str]) -> tuple["_Kept", list[float], dict[str, "Future[Encoded]"]]:
        """Decode, and preprocess for the models that reports are made of, on this thread. Full-size pixels are gone
        when it returns, but for added models that prepare theirs: these add the seconds that it took to the list."""
        decoded = self.decoder.decode(clip)
        began = time.perf_counter()
        pixels = decoded.frames.pixels
        futures: dict[str, Future[Encoded]] = {}
        same = np.arange(len(decoded.frames))
        preprocess_s: list[float] = []
        if len(decoded.frames):
            if clip.reuse:
                looked_at, same = np.unique(stills.firsts(pixels), return_inverse=True)
                pixels = pixels if len(looked_at) == len(same) else pixels[looked_at]
            for name in chosen:
                if name in self.models:
                    futures[name] = self._batchers[name].submit(self.models[name].preprocess(pixels), len(pixels))
            preprocess_s.append(time.perf_counter() - began)
            # After the others, which wait for nothing of theirs.
            for name in chosen:
                if name in self._preparers and name not in self._hung:
                    futures[name] = self._preparers[name].submit(pixels, preprocess_s.append)
        return _Kept(decoded, same, len(pixels)), preprocess_s, futures

    async def _added(
        self, name: str, futures: Mapping[str, "Future[Encoded]"], encoded: Mapping[str, Encoded], count: int
    ) -> Encoded | str:
        """The answer of an added model for `count` frames, or why there is none."""
        added = self.added[name]
        if name in self._hung or (added.of is None and name not in futures):
            return _HUNG
        if added.of is None:
            future = futures[name]
        elif added.of in encoded:
            future = self._batchers[name].submit(encoded[added.of].array, count)
        else:
            return f"it reads vectors of {added.of}, which were not asked for"
        waiting = asyncio.wrap_future(future)
        done, _ = await asyncio.wait({waiting}, timeout=self.options.patience_s)
        if not done:
            future.cancel()
            self._hung.add(name)
            return _HUNG
        try:
            answer = waiting.result()
            require_rows(answer.array, count, added.model.info)
        except Exception as error:  # noqa: BLE001 - as above
            return told(error)
        return answer

    def _batcher(self, name: str, encode: Callable[[Any], np.ndarray]) -> Batcher:
        return Batcher(
            name,
            encode,
            joined,
            batch_size=self._size(name),
            workers=self.options.infer_workers,
            wait_s=self.options.batch_wait_s,
            on_start=self._use_threads,
        )

    def _end_s(self, name: str) -> float | None:
        """How long the threads of a model have for their end, seconds; None: any time."""
        return _HUNG_END_S if name in self._hung else self.options.patience_s if name in self.added else None

    def _size(self, name: str) -> int:
        return self.options.batch_sizes.get(name, self.options.batch_size)

    def _use_threads(self) -> None:
        if self.options.torch_threads is not None:
            import torch

            torch.set_num_threads(self.options.torch_threads)


class _Kept:
    """What outlives the pixels of a decoded Clip."""

    __slots__ = ("decode_s", "decoder", "looked_at", "passed_on", "pts_s", "rows", "same", "strip")

    def __init__(self, decoded: Decoded, same: np.ndarray, looked_at: int) -> None:
        """`same`: int64 [N], which of the `looked_at` rows of answers each frame has."""
        self.same, self.looked_at = same, looked_at
        self.rows = decoded.rows
        self.pts_s = decoded.frames.pts_s
        self.strip = decoded.strip
        self.decode_s = decoded.decode_s
        self.decoder = decoded.decoder
        self.passed_on = decoded.passed_on


def in_turn(added: Mapping[str, Added]) -> list[str]:
    """Their names, those whose vectors others read before these. Raises ValueError as LocalEngine."""

    def depth(name: str) -> int:
        of = added[name].of
        for depth in range(len(added)):
            if of is None or of not in added:
                return depth
            of = added[of].of
        raise ValueError(f"{name} reads vectors that are made of its own")

    return sorted(added, key=depth)
