"""Engines that are elsewhere, as the pipeline knows engines and encoders."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import numpy as np

from models.base import TextModel
from pipeline.clips import Clip
from pipeline.errors import CheckFailed, DecoderStateLost, EngineUnavailable, ModelReplaced, ModelUnavailable
from pipeline.frames import ClipOutput, kept
from serving.graph import messages
from serving.graph.calling import Remote
from serving.graph.messages import Embedded, EmbedTexts, ModelDescription, Ran, RunClip

T = TypeVar("T")

#: How often a request looks for a replica that has its model: each time it was told of one that had it no longer.
_SEARCHES: Final = 3


class Slots:
    """Bounds how many Clips are out at once, over all jobs of a process."""

    def __init__(self, most: int, told: Callable[[int], None] = lambda count: None) -> None:
        """`told`: how many there are, whenever that changes."""
        self._told = told
        self._out = 0
        self.allow(most)

    def allow(self, most: int) -> None:
        """From now on so many. Those that are out do not count among the new ones, so that there may be more for a
        moment."""
        self._free = asyncio.Semaphore(most)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Waits for one, and has it while the block lasts."""
        async with self._free:
            self._count(1)
            try:
                yield
            finally:
                self._count(-1)

    def _count(self, more: int) -> None:
        self._out += more
        self._told(self._out)


class RemoteEngine:
    """An `Engine` for one job: the replicas of a deployment, as far as they have the model that the job began with."""

    def __init__(
        self, engine: Remote, model: ModelDescription, slots: Slots, also: Sequence[ModelDescription] = ()
    ) -> None:
        """`also`: models that look on besides."""
        self._engine = engine
        self._also = {one.name: one.info.identity for one in also}
        self._model = model
        self._slots = slots
        self._chains: dict[tuple[str, int], str] = {}
        """Chains that go on, and the replica that has their decoder."""

    async def run(self, clip: Clip) -> ClipOutput:
        """See `Engine.run`.

        Raises:
            ModelReplaced: no replica has the model any more.
            EngineUnavailable, EngineFault: as `Remote.ask`.
            VideoError: what the engine refused with.
        """
        chain = clip.job, clip.chain
        pin = self._chains.get(chain, "")
        if clip.part and not pin:
            raise DecoderStateLost(f"part {clip.part} of a chain came without the parts before it")
        async with self._slots.one():
            request = messages.encode(
                RunClip(clip=clip, model=self._model.name, identity=self._model.info.identity, also=self._also)
            )
            if clip.part:
                ran = messages.answer(await self._engine.ask("run", request, pin=pin, again=False), Ran)
            else:
                ran = await ask_holder(self._engine, "run", request, Ran, self._is_mine)
        if clip.last:
            self._chains.pop(chain, None)
        else:
            self._chains[chain] = ran.replica
        return kept(ran.output)

    async def check(self) -> None:
        """Whether a replica says that its models compute; each has them do so, see `Replica.check_health`.

        Raises:
            CheckFailed: none does.
            EngineUnavailable: none answers.
        """
        replicas = await self._engine.descriptions()
        if not any(replica.state == "ready" for replica in replicas):
            raise CheckFailed("; ".join(dict.fromkeys(f"{replica.error or replica.state}" for replica in replicas)))

    def _is_mine(self, model: ModelDescription) -> bool:
        return model.info.identity == self._model.info.identity


class RemoteEncoder(TextModel):
    """The text side of a model: the text deployment, or, where that has another version just now, the engine."""

    def __init__(self, text: Remote, engine: Remote, model: ModelDescription) -> None:
        """Made in the event loop that is to be asked from. `model` is of an encoder."""
        assert model.likelihood is not None
        self.info = model.info
        self.likelihood = model.likelihood
        self.known_words = None if model.known_words is None else frozenset(model.known_words)
        self._text, self._engine = text, engine
        self._model = model
        self._loop = asyncio.get_running_loop()

    def embed_text(self, texts: list[str]) -> np.ndarray:
        """See `TextModel.embed_text`. From any thread but the loop's own, which it would hold up.

        Raises:
            ModelReplaced: neither has the model any more.
            EngineUnavailable, EngineFault: as `Remote.ask`.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run_coroutine_threadsafe(self.embedded(texts), self._loop).result()
        raise RuntimeError("embed_text waits for an answer: call it on a thread, or await `embedded`")

    async def embedded(self, texts: list[str]) -> np.ndarray:
        """The same, for those who can wait in a loop."""
        request = messages.encode(EmbedTexts(model=self._model.name, space=self.info.space, texts=tuple(texts)))
        try:
            return messages.answer(await self._text.ask("embed", request), Embedded).rows
        except (ModelReplaced, ModelUnavailable, EngineUnavailable):
            found = await ask_holder(self._engine, "embed", request, Embedded, self._is_mine)
            return found.rows

    def _is_mine(self, model: ModelDescription) -> bool:
        return model.info.space == self.info.space


async def ask_holder(
    remote: Remote, method: str, request: bytes, kind: type[T], holds: Callable[[ModelDescription], bool]
) -> T:
    """The answer of a replica that has a model that `holds`; the first one that is asked may have it no longer, or not
    yet.

    Raises:
        ModelReplaced: no replica has one.
        VideoError: as `Remote.ask`, and what was refused with.
    """
    pin = ""
    for search in itertools.count():
        try:
            return messages.answer(await remote.ask(method, request, pin=pin), kind)
        except ModelReplaced:
            if search == _SEARCHES:
                raise
        pin = next(
            (
                replica.replica
                for replica in await remote.descriptions()
                if any(holds(model) for generation in replica.generations for model in generation.models)
            ),
            "",
        )
        if not pin:
            raise ModelReplaced(f"no replica of {remote.name} has the model any more that this began with")
    raise AssertionError("unreachable")
