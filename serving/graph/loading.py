"""Loads what an engine or a text replica is configured to have, and has it show that it computes."""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

import numpy as np

from models.base import FrameModel
from models.catalog import Loaded
from models.sizing import size
from pipeline.batching import Batcher, Encoded, smaller_batches
from pipeline.checking import failed_by, require_rows
from pipeline.clips import Clip
from pipeline.decode.choice import Choice, choose
from pipeline.engine import EngineOptions, LocalEngine
from pipeline.errors import ModelReplaced, ModelUnavailable
from pipeline.frames import ClipOutput
from pipeline.report import Notice
from pipeline.sandbox.client import Sandbox
from pipeline.sandbox.decoder import SandboxedDecoder
from pipeline.toolkit import EMBEDDING, STATS
from serving.beside import require_encoder
from serving.graph.args import EngineConfig, TextConfig
from serving.graph.golden import golden_clip
from serving.graph.networks import Networks, beside
from serving.local import isolation_notices

#: What text towers are tried with.
_TEXTS = ["a red circle", "a photo of a dog"]

#: Of a Clip that only an encoder looks at.
NO_OTHERS: Final[Mapping[str, str]] = MappingProxyType({})

#: What image towers are: nothing, and noise.
_PICTURES = np.stack(
    [np.zeros((64, 64, 3), np.uint8), np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)]
)

#: Two answers nearer than this are one: a model that does not look at what it is given.
_SAME = 1e-6


class EngineModels:
    """A generation of an engine: its networks and the LocalEngine that runs them."""

    def __init__(
        self,
        config: EngineConfig,
        networks: Networks,
        decoder: SandboxedDecoder,
        sandbox: Sandbox,
        watched: Callable[[str, FrameModel], FrameModel] = lambda name, model: model,
    ) -> None:
        """
        Args:
            decoder: takes what no faster decoder does; belongs to the replica, for chains outlive a swap.
            sandbox: where it decodes.
            watched: gives a model that counts its batches under that name.

        Raises:
            GpuUnavailable, DecoderUnavailable, IsolationUnavailable: the configuration asks for what is not here.
        """
        self.networks = networks
        self.identities = networks.identities
        each = {loaded.model.info.identity: loaded.model for loaded in networks.encoders.values()}
        if not each:
            raise ModelUnavailable(f"{', '.join(networks.loaded)}: an engine needs an encoder (auto, bundled, a CLIP)")
        devices = [model.info.device for model in each.values()]
        device = next((device for device in devices if device.startswith("cuda")), devices[0])
        self.choice: Choice = choose(config.decoder, device, reference=decoder, require_gpu=config.require_gpu)
        self._notices: tuple[Notice, ...] = (*isolation_notices(sandbox, self.choice), *self.choice.notices)
        self._beside = beside(networks)
        self._names = {identity: name for name, identity in reversed(self.identities.items())}
        counted = {identity: watched(self._names[identity], model) for identity, model in each.items()}
        # Brings torch, which the process that builds the application does without.
        from models.frame_stats import FrameStats

        self._added = {key: one for keys in self._beside.values() for key, one in keys.items()}
        self._owners = {key: name for name, keys in self._beside.items() for key in keys}
        self.engine = LocalEngine(
            {**counted, STATS: FrameStats()}, self.choice.decoder, _options(config, each), added=self._added
        )

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What whoever uses it should know, now."""
        advice = "set batch_size to that, or give it more memory"
        return (*self._notices, *smaller_batches(self.engine.shrunk(), self._names, advice))

    async def run(self, clip: Clip, identity: str, also: Mapping[str, str] = NO_OTHERS) -> ClipOutput:
        """Decode the Clip and run the model that gives such numbers, and others besides.

        Args:
            also: names of models -> identities of what they have to give.

        Raises:
            ModelReplaced: one of the others gives other numbers by now, or is not there.
        """
        keys = {identity: EMBEDDING, STATS: STATS} | {self._key(name, also, identity): name for name in also}
        output = await self.engine.run(clip, tuple(keys))
        return replace(
            output,
            arrays={keys[key]: rows for key, rows in output.arrays.items()},
            failed={keys[key]: reason for key, reason in output.failed.items()},
        )

    def _key(self, name: str, also: Mapping[str, str], identity: str) -> str:
        """What a model that looks on besides is called in the engine, where it does so beside this encoder."""
        if self.identities.get(name) != also[name]:
            raise ModelReplaced(f"the model {name} was replaced by another version")
        for key, one in self._beside[name].items():
            if self._is_read(one.of, also, identity):
                return key
        raise ModelUnavailable(f"{name} reads vectors of another model than this one")

    def _is_read(self, of: str | None, also: Mapping[str, str], identity: str) -> bool:
        """Whether these vectors are there, in the end, where this encoder and these others look on; None: frames."""
        if of is None or of == identity:
            return True
        return self._owners.get(of) in also and self._is_read(self._added[of].of, also, identity)

    async def embed(self, texts: list[str], identity: str) -> np.ndarray:
        """float32 [N, D]: by the text tower of the model that gives such numbers."""
        return await asyncio.to_thread(self.networks.of(identity).model.embed_text, texts)

    async def check(self) -> None:
        """See `generations.Models.check`. Raises CheckFailed."""
        await self.engine.check()

    async def prove(self) -> None:
        """Run every model on full batches where memory may lack for them, on a Clip of ours, and look at the answers.

        Raises:
            CheckFailed: one does not compute as it should; says which.
        """
        clip = await asyncio.to_thread(golden_clip)
        for name, loaded in self.networks.encoders.items():
            model = loaded.model
            with failed_by(name):
                if model.info.device != "cpu":
                    most = self.engine.batch_sizes()[model.info.identity]
                    await asyncio.to_thread(_run_many, model, most)
                output = await self.run(clip, model.info.identity)
                if output.rows != clip.wanted:
                    raise ValueError(f"{len(output.rows)} of {len(clip.wanted)} pictures came out of a Clip of ours")
                require_rows(output.arrays[EMBEDDING], len(output.rows), model.info)
                _require_different(output.arrays[EMBEDDING])
            with failed_by(f"{name}, text"):
                require_texts(await asyncio.to_thread(model.embed_text, _TEXTS), loaded)
        # Last, for it knows models by what they compute and not by their names.
        await self.check()

        await self._prove_beside(clip)

    def close(self) -> None:
        """See `generations.Models.close`."""
        self.engine.close()

    async def _prove_beside(self, clip: Clip) -> None:
        """Those that look on besides: each beside an encoder that it can be beside."""
        for name, keys in self._beside.items():
            info = self.networks.loaded[name].model.info
            key, others = next(iter(keys)), {}
            while (of := self._added[key].of) in self._added:
                key = of
                others[self._owners[key]] = self.identities[self._owners[key]]
            encoder = next(iter(self.networks.encoders.values())).model.info.identity if of is None else of
            with failed_by(name):
                output = await self.run(clip, encoder, {name: info.identity} | others)
                if name in output.failed:
                    raise ValueError(output.failed[name])
                require_rows(output.arrays[name], len(output.rows), info)


class TextModels:
    """A generation of the text replica: text towers, each with a thread that runs what has gathered."""

    def __init__(self, config: TextConfig, networks: Networks) -> None:
        self.networks = networks
        self.identities = networks.identities
        for name, loaded in networks.loaded.items():
            require_encoder(name, loaded.model)
        each = {loaded.model.info.identity: loaded.model for loaded in networks.loaded.values()}
        self._batch_size = config.batch_size
        self._batchers = {
            identity: Batcher(identity, model.embed_text, _joined, batch_size=config.batch_size, workers=1)
            for identity, model in each.items()
        }

    async def embed(self, texts: list[str], identity: str) -> np.ndarray:
        """float32 [N, D]: by the model that gives such numbers, together with what others ask for meanwhile."""
        parts = [texts[at : at + self._batch_size] for at in range(0, len(texts), self._batch_size)]
        futures = [self._batchers[identity].submit(part, len(part)) for part in parts]
        rows: list[Encoded] = [await asyncio.wrap_future(future) for future in futures]
        if not rows:
            return np.zeros((0, self.networks.of(identity).model.info.dim), np.float32)
        return np.concatenate([one.array for one in rows])

    async def check(self) -> None:
        """See `generations.Models.check`. Raises CheckFailed."""
        for name, loaded in self.networks.loaded.items():
            with failed_by(name):
                require_texts(await self.embed(_TEXTS, loaded.model.info.identity), loaded)

    async def prove(self) -> None:
        """As `check`, and have the image towers answer, too, though nobody asks them here: of a network that engines do
        not take, texts would be of a space that no frame is of.

        Raises:
            CheckFailed: one does not compute as it should; says which.
        """
        await self.check()
        for name, loaded in self.networks.loaded.items():
            model = loaded.model
            with failed_by(f"{name}, images"):
                rows = await asyncio.to_thread(model.run, _PICTURES)
                require_rows(rows, len(_PICTURES), model.info)
                _require_different(rows)

    def close(self) -> None:
        """See `generations.Models.close`."""
        for batcher in self._batchers.values():
            batcher.close()


def require_texts(rows: np.ndarray, loaded: Loaded) -> None:
    """Whether these are vectors of `_TEXTS`. Raises ValueError where they are not."""
    require_rows(rows, len(_TEXTS), loaded.model.info)
    _require_different(rows)


def _require_different(rows: np.ndarray) -> None:
    if np.ptp(rows, axis=0).max() < _SAME:
        raise ValueError("the same answer whatever it is asked")


def _options(config: EngineConfig, encoders: Mapping[str, FrameModel]) -> EngineOptions:
    """`encoders`: by their names in the engine."""
    defaults = EngineOptions()
    threads = config.decode_threads or defaults.decode_threads
    return EngineOptions(
        decode_threads=threads,
        torch_threads=config.torch_threads or os.cpu_count() or 1,
        batch_size=config.batch_size or defaults.batch_size,
        batch_sizes={} if config.batch_size else {key: size(model).batch_size for key, model in encoders.items()},
        clips_in_flight=config.clips_in_flight or threads + 2,
        batch_wait_s=config.batch_wait_s,
    )


def _run_many(model: FrameModel, count: int) -> None:
    """Have it take a batch of `count` frames."""
    pixels = model.example()
    model.run(np.resize(pixels, (count, *pixels.shape[1:])))


def _joined(parts: Iterable[list[str]]) -> list[str]:
    return [text for part in parts for text in part]
