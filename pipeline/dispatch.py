"""Feeds the Clips of a video to an engine: reads ahead on a thread, keeps several in flight, retries what failed."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.clips import Clip
from pipeline.engine import Engine
from pipeline.errors import DecoderCrashed, DecoderStateLost, DecodeTimeout
from pipeline.frames import ClipOutput, Strip
from pipeline.media import Media
from pipeline.packets import PacketIndex
from pipeline.plans import ClipPlan, plan

#: Clips of one video that are cut and handed to the engine at once. The engine bounds what it really works on; this
#: bounds the compressed packets that wait for it.
CLIPS_AHEAD = 4


@dataclass(frozen=True, slots=True)
class Gathered:
    """What the engine made of all Clips of one request, in time order."""

    pts_s: np.ndarray
    """float64 [N], seconds."""
    arrays: dict[str, np.ndarray]
    """Model name -> float32 [N, D]."""
    missing: np.ndarray
    """int64 [M], wanted rows that no attempt could decode."""
    packets: int
    """Packets fed to decoders."""
    decode_s: float
    preprocess_s: float
    infer_s: float
    lost: tuple[str, ...]
    """Why Clips came to nothing, one entry each; what of them came out in a second attempt is not missing."""


async def gather(
    media: Media,
    index: PacketIndex,
    plans: Sequence[ClipPlan],
    engine: Engine,
    *,
    each: Callable[[ClipOutput], Awaitable[None]] | None = None,
    **how: Any,
) -> Gathered:
    """Have the planned Clips decoded and run through the engine's models.

    A wanted picture that does not come out is asked for once more from an earlier entry point, because a keyframe is
    not always the clean start that its container says.

    Args:
        each: awaited with every planned Clip's output as it comes; strips are handed out here and not kept.
        how: passed on to `Media.clips`.

    Raises:
        VideoError: as `Media.clips`; what the engine raises, but for the loss of a decoder: that costs its Clip only.
    """
    outputs: list[ClipOutput] = []

    async with aclosing(run_clips(engine, media.clips(index, plans, **how))) as coming:
        async for output in coming:
            if each is not None:
                await each(output)
            outputs.append(dataclasses.replace(output, strip=None))
    missing = np.empty(0, np.int64)
    if how.get("pixels", True) and plans:
        wanted = np.concatenate([planned.wanted for planned in plans])
        missing = _missing(wanted, outputs)
        if len(missing):
            earlier = _with_earlier_entries(index, missing)
            async with aclosing(run_clips(engine, media.clips(earlier, plan(earlier, missing), **how))) as coming:
                outputs += [dataclasses.replace(output, strip=None) async for output in coming]
            missing = _missing(wanted, outputs)
    return _join(outputs, missing)


async def run_clips(engine: Engine, clips: Generator[Clip]) -> AsyncGenerator[ClipOutput]:
    """Outputs as they finish. Parts of one chain run one after the other, chains side by side."""
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[ClipOutput]] = set()
    previous: asyncio.Task[ClipOutput] | None = None

    async def after(earlier: asyncio.Task[ClipOutput] | None, clip: Clip) -> ClipOutput:
        if earlier is not None:
            await asyncio.wait([earlier])
            # Raises what the earlier part raised: the decoder state it would have left is missing.
            earlier.result()
        try:
            return await engine.run(clip)
        except (DecoderCrashed, DecodeTimeout, DecoderStateLost) as error:
            return _nothing(clip, str(error))

    try:
        while True:
            clip = await loop.run_in_executor(None, next, clips, None)
            if clip is None:
                break
            previous = asyncio.create_task(after(previous if clip.part else None, clip))
            running.add(previous)
            while len(running) >= CLIPS_AHEAD:
                for task in (await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED))[0]:
                    running.discard(task)
                    yield task.result()
        while running:
            for task in (await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED))[0]:
                running.discard(task)
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        # A thread finishes what it is in the middle of, but nobody waits for it and nothing more is started.
        await asyncio.gather(*running, return_exceptions=True)
        # The reader cannot be closed while a thread is in it; then it is when it is collected.
        with contextlib.suppress(ValueError):
            clips.close()


def _nothing(clip: Clip, reason: str) -> ClipOutput:
    return ClipOutput(
        chain=clip.chain,
        part=clip.part,
        rows=(),
        pts_s=np.empty(0),
        arrays={},
        strip=None,
        packets=len(clip.packets),
        decode_s=0.0,
        preprocess_s=0.0,
        infer_s=0.0,
        lost=reason,
    )


def _missing(wanted: np.ndarray, outputs: list[ClipOutput]) -> np.ndarray:
    found = np.array([row for output in outputs for row in output.rows], np.int64)
    return np.setdiff1d(wanted, found)


def _with_earlier_entries(index: PacketIndex, missing: np.ndarray) -> PacketIndex:
    """The index without the entry points that the missing rows were decoded from, and with nothing left out."""
    entries = np.flatnonzero(index.entry)
    group = np.searchsorted(entries, missing, side="right") - 1
    entry = index.entry.copy()
    entry[entries[group[group > 0]]] = False
    return dataclasses.replace(index, entry=entry, disposable=np.zeros_like(index.disposable))


def _join(outputs: list[ClipOutput], missing: np.ndarray) -> Gathered:
    with_frames = [output for output in outputs if output.rows]
    pts_s = np.concatenate([output.pts_s for output in with_frames]) if with_frames else np.empty(0)
    order = np.argsort(pts_s, kind="stable")
    names = with_frames[0].arrays if with_frames else {}
    return Gathered(
        pts_s=pts_s[order],
        arrays={name: np.concatenate([output.arrays[name] for output in with_frames])[order] for name in names},
        missing=missing,
        packets=sum(output.packets for output in outputs),
        decode_s=sum(output.decode_s for output in outputs),
        preprocess_s=sum(output.preprocess_s for output in outputs),
        infer_s=sum(output.infer_s for output in outputs),
        lost=tuple(output.lost for output in outputs if output.lost is not None),
    )


def join_strips(strips: list[Strip]) -> Strip | None:
    """One strip of several, in time order, each time once; None of none."""
    strips = [strip for strip in strips if len(strip)]
    if not strips:
        return None
    times_s = np.concatenate([strip.pts_s for strip in strips])
    times_s, first = np.unique(times_s, return_index=True)
    return Strip(times_s, np.concatenate([strip.thumbs for strip in strips])[first])
