"""A decoder whose work is done by locked-in workers. Pictures come back through shared memory."""

import math
import mmap
import os
import threading
import time
from collections import OrderedDict

import numpy as np

from pipeline.clips import Clip
from pipeline.decode.base import COUNTERS, Decoded
from pipeline.errors import DecoderStateLost
from pipeline.frames import FrameBatch
from pipeline.plans import MAX_WANTED
from pipeline.sandbox import distrust
from pipeline.sandbox.client import Sandbox, Worker, shared_memory
from pipeline.sandbox.protocol import Decode, Pictures

#: Idle workers that are kept for the jobs they belong to; the one idle for longest goes first.
MAX_IDLE = 8


class SandboxedDecoder:
    """PyAV's decoders, in workers. A worker decodes the Clips of one job only, and keeps the decoders of its chains.

    A worker that crashes, hangs or eats memory costs the Clip it was working on, and the chains it had open.
    """

    name = "pyav"

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._lock = threading.Lock()
        self._idle: OrderedDict[Worker, str] = OrderedDict()
        self._chains: dict[tuple[str, int], Worker] = {}
        self._busy: set[Worker] = set()

    def decode(self, clip: Clip) -> Decoded:
        """See `Decoder.decode`.

        Raises:
            VideoError: as the decoder in the worker; DecodeTimeout and DecoderCrashed where it was lost.
        """
        began = time.perf_counter()
        worker = self._take(clip)
        try:
            decoded = self._ask(worker, clip, began)
        except BaseException:
            self._drop(worker)
            raise
        self._give_back(worker, clip)
        return decoded

    def close(self) -> None:
        """End all workers."""
        with self._lock:
            for worker in (*self._idle, *self._busy):
                worker.kill()
            self._idle.clear()
            self._busy.clear()
            self._chains.clear()

    def _ask(self, worker: Worker, clip: Clip, began: float) -> Decoded:
        wanted = len(clip.wanted) + (MAX_WANTED if clip.part else 0)
        width, height = clip.size or clip.codec.geometry.shown_size
        descriptor, memory = shared_memory(wanted * width * height * 3) if wanted else (-1, None)
        room = 0 if memory is None else len(memory)
        try:
            answer = worker.ask(
                Decode(clip=clip),
                Pictures,
                (descriptor,) if wanted else (),
                timeout_s=self._sandbox.limits.clip_s,
                max_bytes=distrust.pictures_bytes(clip),
                check=lambda answer: distrust.pictures(answer, clip, room),
            )
        finally:
            if wanted:
                os.close(descriptor)
        return self._decoded(clip, answer, memory, began)

    def _decoded(self, clip: Clip, answer: Pictures, memory: mmap.mmap | None, began: float) -> Decoded:
        """The answer as what decoders return."""
        count, shape = len(answer.rows), (len(answer.rows), answer.height, answer.width, 3)
        if memory is not None:
            # The mapping lives for as long as the pixels do.
            pixels = np.frombuffer(memory, np.uint8, math.prod(shape)).reshape(shape)
        else:
            pixels = np.empty(shape, np.uint8)
        COUNTERS.add(packets=len(clip.packets), frames=count)
        return Decoded(
            frames=FrameBatch(pixels, answer.pts_s),
            rows=answer.rows,
            strip=answer.strip,
            decode_s=time.perf_counter() - began,
        )

    def _take(self, clip: Clip) -> Worker:
        with self._lock:
            if clip.part:
                worker = self._chains.get((clip.job, clip.chain))
                if worker is None or worker not in self._idle:
                    raise DecoderStateLost(f"part {clip.part} of a chain came without the parts before it")
            else:
                open_chains = set(self._chains.values())
                mine = [w for w, job in self._idle.items() if job == clip.job and w not in open_chains]
                worker = mine[-1] if mine else None
            if worker is not None:
                del self._idle[worker]
                self._busy.add(worker)
                return worker
        worker = self._sandbox.worker()
        with self._lock:
            self._busy.add(worker)
        return worker

    def _give_back(self, worker: Worker, clip: Clip) -> None:
        with self._lock:
            if worker not in self._busy:
                return
            self._busy.discard(worker)
            self._idle[worker] = clip.job
            if clip.last:
                self._chains.pop((clip.job, clip.chain), None)
            else:
                self._chains[clip.job, clip.chain] = worker
            surplus = [next(iter(self._idle))] if len(self._idle) > MAX_IDLE else []
        for old in surplus:
            self._drop(old)

    def _drop(self, worker: Worker) -> None:
        worker.kill()
        with self._lock:
            self._busy.discard(worker)
            self._idle.pop(worker, None)
            for chain in [chain for chain, owner in self._chains.items() if owner is worker]:
                del self._chains[chain]
