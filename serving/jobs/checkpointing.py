"""An engine that remembers: what was made of a Clip before, by whichever worker, is not made again."""

import dataclasses
import hashlib
from collections.abc import Mapping

import msgspec

from pipeline.clips import Clip
from pipeline.engine import Engine
from pipeline.frames import ClipOutput, kept
from pipeline.sandbox import wire


class CheckpointedEngine:
    """Runs Clips through another engine unless their outputs are known.

    Parts of a chain share a decoder, so a later one cannot be decoded without those before it: a chain is remembered
    once it is whole.
    """

    def __init__(self, engine: Engine, known: Mapping[str, bytes], identity: str) -> None:
        """`known`: names of Clips -> their outputs; `identity`: of the engine's models, see `Toolkit.identity`."""
        self._engine = engine
        self._identity = identity
        self._known = dict(known)
        self._unfinished: dict[tuple[str, int], list[tuple[str, bytes]]] = {}
        self._new: list[tuple[str, bytes]] = []
        self.reused = 0
        """Clips that were not run."""

    async def run(self, clip: Clip) -> ClipOutput:
        """See `Engine.run`."""
        name = name_of(clip, self._identity)
        known = self._known.get(name)
        if known is not None:
            self.reused += 1
            output = kept(wire.decode(known, ClipOutput, wire.MAX_BYTES))
            return dataclasses.replace(output, chain=clip.chain, part=clip.part)
        output = await self._engine.run(clip)
        chain = self._unfinished.setdefault((clip.job, clip.chain), [])
        # What an added model failed at may come out the next time.
        if output.lost is None and not output.failed:
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


def name_of(clip: Clip, identity: str) -> str:
    """Equal for Clips that are asked for the same of the same video by the same model."""
    how = (clip.glimpsed, clip.glimpse, clip.exact, clip.size, clip.reuse)
    asked = (identity, clip.rows, clip.part, clip.last, clip.wanted, *how)
    return hashlib.sha256(msgspec.msgpack.encode(asked)).hexdigest()
