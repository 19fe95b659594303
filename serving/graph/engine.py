"""A replica of an engine: decodes Clips and runs the models of this engine on them, where the frames are."""

import os
from typing import Final

import numpy as np

from pipeline.allocator import limit_arenas
from pipeline.decode.base import Decoding
from pipeline.report import Notice
from pipeline.sandbox.client import Sandbox
from pipeline.sandbox.decoder import SandboxedDecoder
from serving.graph import messages
from serving.graph.args import EngineConfig, engine_deployment
from serving.graph.loading import EngineModels
from serving.graph.messages import Ran, RunClip
from serving.graph.networks import Networks
from serving.graph.replica import Replica
from serving.settings import load as load_settings

#: Decoding processes that are kept while they wait, of all videos of all workers. One that is given up in the middle of
#: a chain costs that chain another decode from its start; eight videos at once have 16 chains open at most.
MAX_IDLE: Final = 32

#: Those of them that wait for nothing but the next Clip of their video. With eight videos of 720p at once on two cores,
#: two of them make 14.2 s of CPU time, four 12.8 and sixteen 11.0, with 420, 560 and 1,070 MiB of picture memory.
MAX_SPARE: Final = 2 * (os.cpu_count() or 1)


class EngineReplica(Replica[EngineConfig, EngineModels]):
    """The deployment `engine-<name>`. Bytes in, bytes out: see `serving.graph.messages`.

    Needs the router `serving.graph.routing.PinnedRouter`: parts of a chain go to the replica that had the first one.
    """

    _kind = EngineConfig
    _sandbox: Sandbox | None = None

    def __init__(self, name: str, replica: str | None = None) -> None:
        """`name`: of the engine, as in `args.GraphArgs.engines`; `replica`: see `Replica`."""
        limit_arenas()
        super().__init__(engine_deployment(name), replica)
        self._sandbox = Sandbox(load_settings().settings.worker)
        self._sandbox.start()  # meanwhile the models are loaded
        self._decoder = SandboxedDecoder(self._sandbox, max_idle=MAX_IDLE, max_spare=MAX_SPARE)

    async def run(self, request: bytes) -> bytes:
        """`messages.RunClip` -> `messages.Ran` or `messages.Refused`."""
        asked: RunClip | None = None

        async def work() -> Ran:
            nonlocal asked
            asked = messages.decode(request, RunClip)
            with self._generations.using(asked.model, asked.identity) as models:
                output = await models.run(asked.clip, asked.identity, asked.also)
                version = models.networks.of(asked.identity).model.info.version
            messages.require_small(output)
            self._count(frames=len(output.rows))
            self._meters.clip(asked.model, version, output)
            return Ran(output=output, replica=self.replica)

        def refusing(code: str) -> None:
            self._meters.refused("" if asked is None else asked.model, code)

        return await self._answered(request, work, refusing)

    async def close(self) -> None:
        """End its threads and processes; what is under way is lost."""
        self._decoder.close()
        await self._generations.close()
        if self._sandbox is not None:
            self._sandbox.close()

    def __del__(self) -> None:
        """Serve calls this when it takes the replica away; its process ends soon after."""
        if self._sandbox is not None:
            self._sandbox.close()

    def _models(self, config: EngineConfig, found: Networks) -> EngineModels:
        assert self._sandbox is not None
        return EngineModels(config, found, self._decoder, self._sandbox, self._meters.watched)

    async def _embed(self, models: EngineModels, texts: list[str], identity: str) -> np.ndarray:
        return await models.embed(texts, identity)

    def _decoding(self) -> tuple[Decoding | None, tuple[Notice, ...]]:
        current = self._generations.current
        return (None, ()) if current is None else (current.models.choice.told, current.models.notices)
