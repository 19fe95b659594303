"""Key segments of what has been seen so far, while the rest of the video is still being decoded.

They are provisional: signals are normalised inside what is known, and what comes later may be better. They cost little,
and change nothing of the report: where they cannot be found, none are told any more, and that is all.
"""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from pipeline import segments, signals
from pipeline import shots as find
from pipeline.frames import ClipOutput, Loudness, Samples
from pipeline.packets import PacketIndex
from pipeline.plans import ClipPlan
from pipeline.report import Notice, Segment
from pipeline.spec import SegmentSpec
from pipeline.toolkit import EMBEDDING, STATS

_LOG = logging.getLogger(__name__)

#: Looked for at most as often as this, seconds.
EVERY_S = 1.0

#: Share of the time that may go into it: what takes longer is done less often.
MAX_SHARE = 0.02

#: Of less video than this, seconds, nothing is told.
LEAST_S = 10.0

#: By how much more of the video has to be known than the last time: that keeps the times few, however long it is.
GROWTH = 1.05

#: Segments that are told at once.
MOST = 10

Told = Callable[[float, tuple[Segment, ...]], None]
"""(end of what is known, seconds; its best segments), called from the event loop when they have changed."""

Sound = asyncio.Task[tuple[Loudness | None, Notice | None]]


class Candidates:
    """Collects what comes of Clips, and tells of the stretch from the video's start whose samples are all there."""

    def __init__(
        self,
        index: PacketIndex,
        spec: SegmentSpec,
        text_vectors: Callable[[], dict[str, np.ndarray]],
        sound: Sound,
        told: Told,
    ) -> None:
        """`text_vectors`: of the `relevance` signal, see `signals.measure`; `sound`: is used once it is there."""
        self._index, self._spec, self._text_vectors, self._sound, self._told = index, spec, text_vectors, sound, told
        self._outputs: list[ClipOutput] = []
        self._begins: dict[tuple[int, int], float] = {}
        self._order: list[tuple[int, int]] = []
        self._next = 0
        self._known_s = 0.0
        self._due = 0.0
        self._last: list[tuple[float, float]] = []
        self._task: asyncio.Task[None] | None = None
        self._over = False
        self.cost_s = 0.0
        """Seconds of CPU time that it took so far."""

    def planned(self, plans: Sequence[ClipPlan]) -> None:
        """These Clips will come."""
        with self._bearing():
            self._begins = {
                (plan.chain, plan.part): float(self._index.times_of(plan.wanted).min())
                for plan in plans
                if len(plan.wanted)
            }
            self._order = sorted(self._begins, key=self._begins.__getitem__)
            self._due = time.monotonic() + EVERY_S

    def add(self, output: ClipOutput, found: Sequence[find.Boundary]) -> None:
        """One has come; `found`: where shots begin, as far as that is known."""
        if not self._over:
            with self._bearing():
                self._add(output, found)

    def _add(self, output: ClipOutput, found: Sequence[find.Boundary]) -> None:
        self._outputs.append(output)
        self._begins.pop((output.chain, output.part), None)
        while self._next < len(self._order) and self._order[self._next] not in self._begins:
            self._next += 1
        if self._next == len(self._order) or time.monotonic() < self._due:
            return
        until_s = self._begins[self._order[self._next]]
        if until_s < max(LEAST_S, self._known_s * GROWTH):
            return
        if self._task is not None and not self._task.done():
            return
        self._known_s = until_s
        self._task = asyncio.create_task(self._tell(until_s, list(self._outputs), list(found)))

    async def close(self) -> None:
        """Stop; what is being computed is not told any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _tell(self, until_s: float, outputs: list[ClipOutput], found: list[find.Boundary]) -> None:
        with self._bearing():
            loudness = None
            if self._sound.done() and not self._sound.cancelled() and self._sound.exception() is None:
                loudness, _ = self._sound.result()
            chosen, cost_s = await asyncio.to_thread(self._choose, until_s, outputs, found, loudness)
            self.cost_s += cost_s
            self._due = time.monotonic() + max(EVERY_S, cost_s / MAX_SHARE)
            where = sorted((segment.start_s, segment.end_s) for segment in chosen)
            if where and where != self._last:
                self._last = where
                self._told(until_s, chosen)

    @contextmanager
    def _bearing(self) -> Iterator[None]:
        try:
            yield
        except Exception:  # noqa: BLE001 - the report does without them, whatever it is
            self._over = True
            self._outputs.clear()
            _LOG.exception("which segments there would be by now cannot be told of this video any more")

    def _choose(
        self, until_s: float, outputs: list[ClipOutput], found: list[find.Boundary], loudness: Loudness | None
    ) -> tuple[tuple[Segment, ...], float]:
        began = time.thread_time()
        samples = _samples(outputs, until_s)
        chosen: tuple[Segment, ...] = ()
        if len(samples.pts_s) >= 3:
            shots = find.shots(tuple(boundary for boundary in found if boundary.time_s < until_s), until_s)
            cuts_s = tuple(shot.start_s for shot in shots[1:])
            index = _beginning(self._index, until_s)
            texts = self._text_vectors()
            curve = signals.measure(
                index, samples, loudness, cuts_s=cuts_s, wanted=texts.get("wanted"), unwanted=texts.get("unwanted")
            )
            chosen = segments.choose(curve, shots, self._spec, index.duration_s)[:MOST]
        return chosen, time.thread_time() - began


def _samples(outputs: list[ClipOutput], until_s: float) -> Samples:
    """Those before a time, in order."""
    outputs = [output for output in outputs if output.rows]
    if not outputs:
        return Samples(np.empty(0), np.empty((0, 1), np.float32), np.empty((0, 1), np.float32))
    times_s = np.concatenate([output.pts_s for output in outputs])
    order = np.argsort(times_s, kind="stable")
    order = order[times_s[order] < until_s]
    embeddings, stats = (
        np.concatenate([output.arrays[name] for output in outputs])[order] for name in (EMBEDDING, STATS)
    )
    return Samples(times_s[order], embeddings, stats)


def _beginning(index: PacketIndex, until_s: float) -> PacketIndex:
    """The packets of what is shown before a time, as if the video ended there."""
    end = min(index.end, index.origin + int(until_s / float(index.time_base)))
    rows = index.pts < end
    columns = {name: getattr(index, name)[rows] for name in ("pts", "size", "keyframe", "entry", "disposable", "shown")}
    return dataclasses.replace(index, **columns, end=end)
