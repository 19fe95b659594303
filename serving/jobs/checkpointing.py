"""An engine that remembers: what was made of a Clip before, by whichever worker, is not made again."""

import dataclasses
import hashlib
from collections.abc import Mapping

import msgspec

from pipeline.clips import Clip
from pipeline.engine import Engine
from pipeline.frames import ClipOutput
from pipeline.sandbox import wire


class CheckpointedEngine:
    """Runs Clips through another engine unless their outputs are known.

    Parts of a chain share a decoder, so a later one cannot be decoded without those before it: a chain is remembered
    once it is whole.
    """

    def __init__(self, engine: Engine, known: Mapping[str, bytes], space: str) -> None:
        """`known`: names of Clips -> their outputs; `space`: of the engine's model, see `models.base.ModelInfo`."""
        self._engine = engine
        self._space = space
        self._known = dict(known)
        self._unfinished: dict[tuple[str, int], list[tuple[str, bytes]]] = {}
        self._new: list[tuple[str, bytes]] = []
        self.reused = 0
        """Clips that were not run."""

    async def run(self, clip: Clip) -> ClipOutput:
        """See `Engine.run`."""
        name = name_of(clip, self._space)
        known = self._known.get(name)
        if known is not None:
            self.reused += 1
            output = wire.decode(known, ClipOutput, wire.MAX_BYTES)
            return dataclasses.replace(output, chain=clip.chain, part=clip.part)
        output = await self._engine.run(clip)
        chain = self._unfinished.setdefault((clip.job, clip.chain), [])
        if output.lost is None:
            chain.append((name, wire.encode(output)))
        if clip.last:
            del self._unfinished[clip.job, clip.chain]
            if len(chain) == clip.part + 1:
                self._new += chain
        return output

    async def check(self) -> None:
        """See `Engine.check`."""
        await self._engine.check()

    def new(self) -> list[tuple[str, bytes]]:
        """What has come since this was asked last: names of Clips and their outputs, to be kept."""
        new, self._new = self._new, []
        return new


def name_of(clip: Clip, space: str) -> str:
    """Equal for Clips that are asked for the same of the same video by the same model."""
    asked = (space, clip.rows, clip.part, clip.last, clip.wanted, clip.glimpsed, clip.glimpse, clip.exact, clip.size)
    return hashlib.sha256(msgspec.msgpack.encode(asked)).hexdigest()
