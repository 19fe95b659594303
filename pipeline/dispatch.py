"""Feeds the Clips of a video to an engine: reads ahead on a thread, keeps several in flight, retries what failed."""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.chains import Chains, close
from pipeline.clips import Clip
from pipeline.engine import Engine
from pipeline.frames import ClipOutput, Failed, PassedOn, Strip
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
    """Model name -> float32 [N, D]; rows of NaN where an added model failed."""
    missing: np.ndarray
    """int64 [M], wanted rows that no attempt could decode."""
    packets: int
    """Packets fed to decoders."""
    decode_s: float
    preprocess_s: float
    infer_s: float
    lost: tuple[str, ...]
    """Why Clips came to nothing, one entry each; what of them came out in a second attempt is not missing."""
    passed_on: "Counter[PassedOn]"
    """How often which decoder did not do it itself."""
    reused: int = 0
    """As `ClipOutput.reused`."""
    failed: dict[str, Failed] = field(default_factory=dict)
    """Added model -> what it failed at."""


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

    A chain whose decoder is lost is run again. A wanted picture that still does not come out is asked for once more
    from an earlier entry point, because a keyframe is not always the clean start that its container says.

    Args:
        each: awaited with every planned Clip's output as it comes; strips are handed out here and not kept.
        how: passed on to `Media.clips`.

    Raises:
        VideoError: as `Media.clips`; what the engine raises, but for the loss of a decoder: that costs its Clip only.
    """
    outputs: list[ClipOutput] = []

    async with aclosing(run_clips(media, index, plans, engine, **how)) as coming:
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
            async with aclosing(run_clips(media, earlier, plan(earlier, missing), engine, **how)) as coming:
                outputs += [dataclasses.replace(output, strip=None) async for output in coming]
            missing = _missing(wanted, outputs)
    return _join(outputs, missing)


async def run_clips(
    media: Media, index: PacketIndex, plans: Sequence[ClipPlan], engine: Engine, **how: Any
) -> AsyncGenerator[ClipOutput]:
    """Outputs as they finish. Parts of one chain run one after the other, chains side by side."""
    loop = asyncio.get_running_loop()
    chains = Chains(engine, plans, lambda some: media.clips(index, some, **how))
    clips = media.clips(index, plans, **how)
    running: set[asyncio.Task[ClipOutput]] = set()
    previous: asyncio.Task[ClipOutput] | None = None

    async def after(earlier: asyncio.Task[ClipOutput] | None, clip: Clip) -> ClipOutput:
        if earlier is not None:
            await asyncio.wait([earlier])
            # Raises what the earlier part raised: the decoder state it would have left is missing.
            earlier.result()
        return await chains.run(clip)

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
        close(clips)


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
    names = dict.fromkeys(name for output in with_frames for name in output.arrays)
    return Gathered(
        pts_s=pts_s[order],
        arrays={name: np.concatenate(_rows(name, with_frames))[order] for name in names},
        missing=missing,
        packets=sum(output.packets for output in outputs),
        decode_s=sum(output.decode_s for output in outputs),
        preprocess_s=sum(output.preprocess_s for output in outputs),
        infer_s=sum(output.infer_s for output in outputs),
        lost=tuple(output.lost for output in outputs if output.lost is not None),
        passed_on=Counter(one for output in outputs for one in output.passed_on),
        reused=sum(output.reused for output in outputs),
        failed=_failed(with_frames),
    )


def _rows(name: str, outputs: list[ClipOutput]) -> list[np.ndarray]:
    width = next(output.arrays[name].shape[1] for output in outputs if name in output.arrays)
    return [
        output.arrays[name] if name in output.arrays else np.full((len(output.rows), width), np.nan, np.float32)
        for output in outputs
    ]


def _failed(outputs: list[ClipOutput]) -> dict[str, Failed]:
    found: dict[str, Failed] = {}
    for output in outputs:
        for name, reason in output.failed.items():
            before = found.get(name, Failed(0, reason))
            found[name] = Failed(before.frames + len(output.rows), before.reason)
    return found


def join_strips(strips: list[Strip]) -> Strip | None:
    """One strip of several, in time order, each time once; None of none."""
    strips = [strip for strip in strips if len(strip)]
    if not strips:
        return None
    times_s = np.concatenate([strip.pts_s for strip in strips])
    times_s, first = np.unique(times_s, return_index=True)
    return Strip(times_s, np.concatenate([strip.thumbs for strip in strips])[first])
