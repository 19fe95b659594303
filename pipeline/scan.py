"""Watches a video from its start to its end in blocks of bounded length, and finds its shots on the way.

Thumbnails of every picture that is decoded anyway are kept for one block only, so memory does not grow with duration.
While one block's shots are refined, the next block is already being decoded.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pipeline import allocator, flow
from pipeline import shots as find
from pipeline.candidates import Candidates
from pipeline.dispatch import gather, join_strips
from pipeline.engine import Engine
from pipeline.frames import ClipOutput, Failed, PassedOn, Strip
from pipeline.media import Media
from pipeline.packets import PacketIndex
from pipeline.plans import ClipPlan, plan
from pipeline.report import Shot

#: Length of a block, seconds.
BLOCK_S = 120.0

#: How much of the block before is looked at again, so that a transition at the border is seen whole; seconds.
OVERLAP_S = 6.0


@dataclass(frozen=True, slots=True)
class Scan:
    """What was seen of a whole video."""

    pts_s: np.ndarray
    """float64 [N], times of the sampled frames, seconds."""
    arrays: dict[str, np.ndarray]
    """Model name -> float32 [N, D]."""
    missing: np.ndarray
    """int64 [M], wanted rows that could not be decoded."""
    shots: tuple[Shot, ...]
    flow: flow.Flow
    """How fast the picture moves where shots were looked for."""
    packets: int
    packets_shots: int
    """Packets fed to decoders for the sampled frames, and for placing the shots."""
    decode_s: float
    preprocess_s: float
    infer_s: float
    lost: tuple[str, ...]
    """Why Clips of sampled frames came to nothing at first, see `Gathered.lost`."""
    passed_on: "Counter[PassedOn]"
    """As `Gathered.passed_on`, of the sampled frames."""
    analyse_s: float
    """Seconds spent on finding shots in what was decoded."""
    reused: int
    failed: dict[str, Failed]
    """As `Gathered`'s, of the sampled frames."""


async def scan(
    media: Media,
    index: PacketIndex,
    wanted: np.ndarray,
    engine: Engine,
    *,
    shots: bool,
    progress: Callable[[int, int], None],
    candidates: Candidates | None = None,
) -> Scan:
    """Run the wanted rows (int64 [W], in time order) through the engine, and find shots if `shots`.

    Args:
        progress: called with (frames done, frames wanted) from the event loop.
        candidates: is given everything as it comes.

    Raises:
        VideoError: as `gather`.
    """
    finder = None
    if shots:
        hints = await asyncio.to_thread(find.Hints, index)
        plans = plan(index, wanted, glimpsed=await asyncio.to_thread(hints.first_rows, wanted))
        finder = _ShotFinder(media, index, plans, hints, engine)
    else:
        plans = plan(index, wanted)
    if candidates is not None:
        candidates.planned(plans)
    done = 0

    async def each(output: ClipOutput) -> None:
        nonlocal done
        done += len(output.rows)
        progress(done, len(wanted))
        if finder is not None:
            await finder.add(output)
        if candidates is not None:
            candidates.add(replace(output, strip=None), finder.found if finder is not None else ())

    try:
        seen = await gather(media, index, plans, engine, each=each, glimpse=shots)
        found = await finder.finish() if finder is not None else find.shots((), index.duration_s)
    finally:
        if finder is not None:
            finder.cancel()
    return Scan(
        pts_s=seen.pts_s,
        arrays=seen.arrays,
        missing=seen.missing,
        shots=found,
        flow=finder.flow if finder is not None else flow.NO_FLOW,
        packets=seen.packets,
        packets_shots=finder.packets if finder else 0,
        decode_s=seen.decode_s + (finder.decode_s if finder else 0.0),
        preprocess_s=seen.preprocess_s,
        infer_s=seen.infer_s,
        lost=seen.lost,
        passed_on=seen.passed_on,
        analyse_s=finder.analyse_s if finder else 0.0,
        reused=seen.reused,
        failed=seen.failed,
    )


class _ShotFinder:
    """Collects strips block by block, and refines one block while the next is being decoded."""

    def __init__(
        self, media: Media, index: PacketIndex, plans: tuple[ClipPlan, ...], hints: find.Hints, engine: Engine
    ) -> None:
        self._media, self._index, self._hints, self._engine = media, index, hints, engine
        self._block_of = _blocks(index, plans)
        self._waiting = np.bincount([self._block_of[planned.chain] for planned in plans])
        self._strips: dict[int, list[Strip]] = {}
        self._next = 0
        self._task: asyncio.Task[None] | None = None
        self._tail: find.Seen | None = None
        self._owned_to_s = 0.0
        self.found: list[find.Boundary] = []
        self._flows: list[flow.Flow] = []
        self.packets = 0
        self.decode_s = 0.0
        self.analyse_s = 0.0

    async def add(self, output: ClipOutput) -> None:
        """Take a Clip's strip; waits while a whole block is behind."""
        block = self._block_of[output.chain]
        if output.strip is not None:
            self._strips.setdefault(block, []).append(output.strip)
        self._waiting[block] -= 1
        while self._next < len(self._waiting) and self._waiting[self._next] == 0:
            if self._task is not None:
                await self._task
            # In between, nothing of a block is left but what the next one needs: the pages of the rest can go.
            await asyncio.to_thread(allocator.release_freed)
            self._task = asyncio.create_task(self._refine(self._next))
            self._next += 1

    async def finish(self) -> tuple[Shot, ...]:
        """The shots, once every Clip was added."""
        if self._task is not None:
            await self._task
        return find.shots(tuple(self.found), self._index.duration_s)

    @property
    def flow(self) -> flow.Flow:
        """How fast the picture moves, all blocks together."""
        if not self._flows:
            return flow.NO_FLOW
        return flow.Flow(
            np.concatenate([part.times_s for part in self._flows]), np.concatenate([part.speed for part in self._flows])
        )

    def cancel(self) -> None:
        """Stop what is under way; harmless when all is done."""
        if self._task is not None:
            self._task.cancel()

    async def _refine(self, block: int) -> None:
        strip = join_strips(self._strips.pop(block, []))
        if strip is not None:
            seen = await self._timed(self._tail.joined if self._tail is not None else find.Seen, strip)
        elif self._tail is not None:
            seen = self._tail
        else:
            return
        for number in range(find.ROUNDS):
            rows = await self._timed(self._hints.more_rows, seen, number)
            if not len(rows):
                break
            strip = join_strips(await self._glimpse(rows))
            if strip is not None:
                seen = await self._timed(seen.joined, strip)
        found = await self._timed(find.boundaries, seen)
        last = block == len(self._waiting) - 1
        # What lies near the border is judged by the next block, which sees both sides of it.
        owned_to_s = self._index.duration_s if last else float(seen.times_s[-1]) - OVERLAP_S / 2
        self.found += [b for b in found if self._owned_to_s <= b.time_s < owned_to_s]
        moved = await self._timed(_flow, seen, found)
        own = (moved.times_s >= self._owned_to_s) & (moved.times_s < owned_to_s)
        self._flows.append(flow.Flow(moved.times_s[own], moved.speed[own]))
        self._owned_to_s = owned_to_s
        self._tail = None if last else seen.since(float(seen.times_s[-1]) - OVERLAP_S)

    async def _timed(self, work: Callable, *args: object):
        began = time.perf_counter()
        try:
            return await asyncio.to_thread(work, *args)
        finally:
            self.analyse_s += time.perf_counter() - began

    async def _glimpse(self, rows: np.ndarray) -> list[Strip]:
        """Thumbnails of these rows and of every other picture that comes out on the way."""
        strips: list[Strip] = []

        async def each(output: ClipOutput) -> None:
            if output.strip is not None:
                strips.append(output.strip)

        plans = plan(self._index, np.empty(0, np.int64), glimpsed=rows)
        gathered = await gather(self._media, self._index, plans, self._engine, each=each, pixels=False, glimpse=True)
        self.packets += gathered.packets
        self.decode_s += gathered.decode_s
        return strips


def _flow(seen: find.Seen, found: tuple[find.Boundary, ...]) -> flow.Flow:
    cuts_s = np.array([boundary.time_s for boundary in found if boundary.kind == "cut"])
    return flow.measure(seen.tones[:, 0], seen.times_s, np.searchsorted(seen.times_s, cuts_s) - 1)


def _blocks(index: PacketIndex, plans: tuple[ClipPlan, ...]) -> dict[int, int]:
    """chain -> its block: numbered from 0 without gaps, by where the chain begins in time."""
    numbers = {}
    for planned in plans:
        if planned.part == 0:
            numbers[planned.chain] = int(index.times_s[planned.rows[0]] // BLOCK_S)
    order = {number: place for place, number in enumerate(sorted(set(numbers.values())))}
    highest = 0
    for chain in sorted(numbers):
        highest = max(highest, order[numbers[chain]])
        numbers[chain] = highest
    return numbers
