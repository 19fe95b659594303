"""A decoder whose work is done by locked-in workers. Pictures come back through shared memory."""

import itertools
import math
import os
import threading
import time
import weakref
from collections import OrderedDict
from weakref import WeakKeyDictionary

import numpy as np

from pipeline.clips import Clip
from pipeline.decode.base import COUNTERS, Decoded
from pipeline.errors import DecoderCrashed, DecoderStateLost, LimitExceeded
from pipeline.frames import FrameBatch
from pipeline.plans import MAX_RGB_BYTES, MAX_WANTED
from pipeline.sandbox import distrust
from pipeline.sandbox.client import Sandbox, Worker
from pipeline.sandbox.memory import shared_memory
from pipeline.sandbox.protocol import Decode, Pictures

#: Idle workers that are kept for the videos they belong to; the one idle for longest goes first.
MAX_IDLE = 8

#: Those of them that have no chain to go on with: one for each thread that decodes, since each holds a Clip's pictures.
#: What belongs to videos that are done is idle for longest, and makes room for what is under way.
MAX_SPARE = max(2, os.cpu_count() or 1)


class _Memory:
    """Pages that this process and one worker share."""

    _numbers = itertools.count()

    def __init__(self, size: int) -> None:
        self.number = next(self._numbers)
        self._descriptor, self.pages = shared_memory(size)

    @property
    def unsent(self) -> tuple[int, ...]:
        """The descriptor, as long as the worker does not have it."""
        return () if self._descriptor < 0 else (self._descriptor,)

    def sent(self) -> None:
        """The worker has it mapped now, as this process has: nobody needs the descriptor any more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class SandboxedDecoder:
    """PyAV's decoders, in workers. A worker decodes the Clips of one owner only, and keeps the decoders of its chains.

    A worker that crashes, hangs or eats memory costs the Clip it was working on, and the chains it had open.
    """

    name = "pyav"

    def __init__(self, sandbox: Sandbox, *, max_idle: int = MAX_IDLE, max_spare: int = MAX_SPARE) -> None:
        """`max_idle`, `max_spare`: see `MAX_IDLE` and `MAX_SPARE`; an engine for many videos at once keeps more."""
        self._sandbox = sandbox
        self._max_idle, self._max_spare = max_idle, max_spare
        self._lock = threading.Lock()
        self._idle: OrderedDict[Worker, str] = OrderedDict()
        self._chains: dict[tuple[str, int], Worker] = {}
        self._busy: set[Worker] = set()
        self._free: WeakKeyDictionary[Worker, list[_Memory]] = WeakKeyDictionary()
        self._held_back: dict[tuple[str, int], int] = {}
        """Wanted pictures of a chain that may still come out with its next part."""
        self._closed = False

    def decode(self, clip: Clip) -> Decoded:
        """See `Decoder.decode`.

        Raises:
            VideoError: as the decoder in the worker; DecodeTimeout and DecoderCrashed where it was lost.
        """
        began = time.perf_counter()
        worker = self._take(clip)
        try:
            decoded = self._ask(worker, clip, began)
        except (LimitExceeded, RuntimeError) as error:
            # Too little memory, or a fault of ours: this Clip is lost, not the video.
            self._drop(worker)
            raise DecoderCrashed(str(error)) from error
        except BaseException:
            self._drop(worker)
            raise
        self._give_back(worker, clip)
        return decoded

    def close(self) -> None:
        """End all workers; whoever waits for one is told that it was lost."""
        with self._lock:
            self._closed = True
            for worker in (*self._idle, *self._busy):
                worker.kill()
            self._idle.clear()
            self._busy.clear()
            self._chains.clear()

    def _ask(self, worker: Worker, clip: Clip, began: float) -> Decoded:
        held = self._held_back.pop((clip.job, clip.chain), 0)
        most = len(clip.wanted) + held
        memory = self._memory_for(worker, clip, most) if most else None
        room = 0 if memory is None else len(memory.pages)
        try:
            answer = worker.ask(
                Decode(clip=clip, memory=-1 if memory is None else memory.number, memory_bytes=room),
                Pictures,
                () if memory is None else memory.unsent,
                timeout_s=self._sandbox.limits.clip_s,
                max_bytes=distrust.pictures_bytes(clip),
                check=lambda answer: distrust.pictures(answer, clip, room),
            )
        finally:
            if memory is not None:
                memory.sent()
        if not clip.last:
            self._held_back[clip.job, clip.chain] = max(0, most - len(answer.rows))
        return self._decoded(worker, clip, answer, memory, began)

    def _memory_for(self, worker: Worker, clip: Clip, most: int) -> "_Memory":
        """Memory that the worker has mapped and no picture lies in any more, or new memory."""
        width, height = clip.size or clip.codec.geometry.shown_size
        picture = width * height * 3
        free = self._free.setdefault(worker, [])
        for place, memory in enumerate(free):
            if len(memory.pages) >= most * picture:
                return free.pop(place)
        # As much as any Clip of this video needs; what is not written costs nothing.
        return _Memory(max(most * picture, min(MAX_WANTED * picture, MAX_RGB_BYTES)))

    def _decoded(self, worker: Worker, clip: Clip, answer: Pictures, memory: "_Memory | None", began: float) -> Decoded:
        """The answer as what decoders return."""
        count, shape = len(answer.rows), (len(answer.rows), answer.height, answer.width, 3)
        if memory is not None:
            whole = np.frombuffer(memory.pages, np.uint8)
            # Used again once nobody looks at these pictures any more.
            weakref.finalize(whole, self._free.setdefault(worker, []).append, memory)
            pixels = whole[: math.prod(shape)].reshape(shape)
        else:
            pixels = np.empty(shape, np.uint8)
        COUNTERS.add(packets=len(clip.packets), frames=count)
        return Decoded(
            # Times outlive the pictures: as a view they would keep the whole answer, thumbnails and all.
            frames=FrameBatch(pixels, answer.pts_s.copy()),
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
                mine = [w for w, owner in self._idle.items() if owner == _owner(clip) and w not in open_chains]
                worker = mine[-1] if mine else None
            if worker is not None:
                del self._idle[worker]
                self._busy.add(worker)
                return worker
        worker = self._sandbox.worker()
        with self._lock:
            if not self._closed:
                self._busy.add(worker)
                return worker
        worker.kill()
        raise DecoderCrashed("the decoder is closed")

    def _give_back(self, worker: Worker, clip: Clip) -> None:
        with self._lock:
            if worker not in self._busy:
                return
            self._busy.discard(worker)
            self._idle[worker] = _owner(clip)
            if clip.last:
                self._chains.pop((clip.job, clip.chain), None)
            else:
                self._chains[clip.job, clip.chain] = worker
            open_chains = set(self._chains.values())
            spare = [one for one in self._idle if one not in open_chains]
            # Chains are kept longer, but not for ever: their requests may have been given up.
            surplus = spare[:1] if len(spare) > self._max_spare else []
            if not surplus and len(self._idle) > self._max_idle:
                surplus = list(self._idle)[:1]
        for old in surplus:
            self._drop(old)

    def _drop(self, worker: Worker) -> None:
        worker.kill()
        with self._lock:
            self._busy.discard(worker)
            self._idle.pop(worker, None)
            for chain in [chain for chain, owner in self._chains.items() if owner is worker]:
                del self._chains[chain]
                self._held_back.pop(chain, None)


def _owner(clip: Clip) -> str:
    return clip.owner or clip.job
