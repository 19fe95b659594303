"""Runs the Clips of a request, and runs a chain again whose decoder was lost in the middle of it.

Parts of a chain share a decoder, which lives in one process of one machine. When that is gone, a later part can only be
decoded once the parts before it have been decoded again, wherever that is: so they are cut out of the file once more.
"""

import asyncio
import contextlib
from collections.abc import Callable, Generator, Sequence

import msgspec
import numpy as np

from pipeline.clips import Clip
from pipeline.engine import Engine
from pipeline.errors import DecoderCrashed, DecoderStateLost, DecodeTimeout
from pipeline.frames import ClipOutput
from pipeline.plans import ClipPlan

#: How often the parts up to one are run again because their decoder was gone each time: machines end, too.
_MAX_LOST = 3

#: How often because it crashed over them, which may be the video's doing. What hangs is not run again at all.
_MAX_CRASHED = 2

Cut = Callable[[Sequence[ClipPlan]], Generator[Clip]]
"""Cuts these plans out of the video, as a request of its own."""


class Chains:
    """The chains of one request. Of each, one part is run at a time."""

    def __init__(self, engine: Engine, plans: Sequence[ClipPlan], cut: Cut) -> None:
        """`cut`: gives the Clips of any of `plans` once more."""
        self._engine = engine
        self._plans = plans
        self._cut = cut
        self._job: dict[int, str] = {}
        """Chains that were run again, and the request that their decoder knows them by now."""
        self._lost: dict[int, str] = {}
        """Chains that nothing more comes of, and why."""

    async def run(self, clip: Clip) -> ClipOutput:
        """What the engine makes of it, or, where its decoder was lost for good, nothing and the reason.

        Raises what the engine raises, but for the loss of a decoder.
        """
        if clip.chain in self._lost:
            return _nothing(clip, self._lost[clip.chain])
        work = self._engine.run(self._renamed(clip))
        lost = crashed = 0
        while True:
            try:
                return await work
            except DecoderStateLost as error:
                reason, lost = str(error), lost + 1
            except DecoderCrashed as error:
                reason, crashed = str(error), crashed + 1
            except DecodeTimeout as error:
                reason = str(error)
                break
            if lost > _MAX_LOST or crashed > _MAX_CRASHED:
                break
            work = self._again(clip)
        self._lost[clip.chain] = reason
        return _nothing(clip, reason)

    async def _again(self, clip: Clip) -> ClipOutput:
        """Run all parts up to this one with a fresh decoder; what the others give is known already."""
        parts = [planned for planned in self._plans if planned.chain == clip.chain and planned.part <= clip.part]
        output: ClipOutput | None = None
        clips = self._cut(parts)
        try:
            for _ in parts:
                part = await asyncio.get_running_loop().run_in_executor(None, next, clips, None)
                assert part is not None
                self._job[clip.chain] = part.job
                output = await self._engine.run(part)
        finally:
            await asyncio.to_thread(close, clips)
        assert output is not None
        return output

    def _renamed(self, clip: Clip) -> Clip:
        job = self._job.get(clip.chain)
        return clip if job is None else msgspec.structs.replace(clip, job=job)


def close(clips: Generator[Clip]) -> None:
    """End the reading of Clips. One in whose middle a thread is cannot be ended; it is when it is collected."""
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
