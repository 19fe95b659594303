"""What replicas of engines and of text towers have in common: they swap models, say how they are, and are checked."""

import asyncio
import logging
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
import numpy as np

from models.catalog import Loaded, is_encoder
from pipeline.decode.base import Decoding
from pipeline.errors import CheckFailed, EngineFault, ModelReplaced, VideoError
from pipeline.record import Record
from pipeline.report import Notice
from serving import dumps
from serving.beside import require_encoder
from serving.graph import messages
from serving.graph.args import EngineConfig, TextConfig, read
from serving.graph.generations import Generations, Models
from serving.graph.messages import (
    EmbedTexts,
    GenerationDescription,
    Handled,
    ModelDescription,
    Ran,
    ReplicaDescription,
    SwapFailure,
)
from serving.graph.metrics import EngineMeters
from serving.graph.networks import Networks, networks

_LOG = logging.getLogger(__name__)

#: How long a check may wait behind what is under way, seconds. Longer ones fail, unless something was answered
#: meanwhile: then the replica is busy and not stuck.
CHECK_S: Final = 60.0


class Serving(Models, Protocol):
    """A generation of either."""

    @property
    def networks(self) -> Networks:
        """What it was made of."""
        ...

    async def prove(self) -> None:
        """Raises where it does not compute as it should."""
        ...


C = TypeVar("C", EngineConfig, TextConfig)
M = TypeVar("M", bound=Serving)


class Replica(ABC, Generic[C, M]):
    """A replica whose models can be replaced while it serves."""

    _kind: type[C]
    """Of its `user_config`."""

    def __init__(self, deployment: str, replica: str | None = None) -> None:
        """`replica`: its id; None: the one that Serve gave to the replica that this is."""
        dumps.forbid()
        self._deployment = deployment
        self.replica = _own_id() if replica is None else replica
        self._meters = EngineMeters()
        self._generations: Generations[C, M] = Generations(
            self._load,
            lambda models: models.prove(),
            timeout_s=lambda config: config.load_timeout_s,
            linger_s=lambda config: config.linger_s,
            watch=_Meters(self._meters),
            stale=lambda models: models.networks.stale,
        )
        self._handled = Handled()
        self._answered_at: float | None = None
        """When a model computed something last, by `time.monotonic`."""
        self._error: str | None = None
        self._check: asyncio.Task[None] | None = None

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Have the models that `user_config` says. The first ones are waited for. Of later ones this only begins to
        load: a replica that is being reconfigured may be left out of routing by Serve until that ends.

        Raises:
            InvalidGraph: it says what cannot be.
            ModelUnavailable: the first ones are not to be had.
        """
        await self._generations.change(read(self._kind, user_config, f"{self._deployment}.user_config"))
        self._answered_at = self._answered_at or time.monotonic()

    async def describe(self) -> bytes:
        """`ReplicaDescription`."""
        return messages.encode(self.description())

    async def check_health(self) -> None:
        """Have every model compute something. Serve asks now and then, and replaces a replica where this raises.

        Raises:
            CheckFailed: one does not, or nothing at all comes out.
        """
        current = self._generations.current
        if current is None:
            return
        if self._check is None or self._check.done():
            self._check = asyncio.create_task(current.models.check())
        began = time.monotonic()
        done, _ = await asyncio.wait({self._check}, timeout=CHECK_S)
        if not done:
            if self._answered_at is not None and self._answered_at > began:
                return
            self._error = f"no answer within {CHECK_S:g} s"
            raise CheckFailed(self._error)
        try:
            self._check.result()
        except CheckFailed as error:
            self._error = str(error)
            raise
        self._error = None
        self._answered_at = time.monotonic()

    def description(self) -> ReplicaDescription:
        """How it is."""
        now = time.monotonic()
        failure = self._generations.failure
        coming = self._generations.coming
        ready = self._generations.current is not None
        decoding, notices = self._decoding()
        return ReplicaDescription(
            deployment=self._deployment,
            replica=self.replica,
            host=socket.gethostname(),
            pid=os.getpid(),
            state="failed" if self._error is not None else "ready" if ready else "loading",
            generations=tuple(
                GenerationDescription(
                    number=one.number,
                    models=tuple(_model(name, loaded) for name, loaded in one.models.networks.loaded.items()),
                    loaded_ago_s=now - one.loaded_at,
                )
                for one in self._generations.all
            ),
            coming=None if coming is None else _wanted(coming),
            failure=None
            if failure is None
            else SwapFailure(wanted=_wanted(failure.wanted), error=failure.error, ago_s=now - failure.at),
            checked_ago_s=None if self._answered_at is None else now - self._answered_at,
            error=self._error,
            decoding=decoding,
            notices=notices,
            handled=self._handled,
        )

    async def embed(self, request: bytes) -> bytes:
        """`messages.EmbedTexts` -> `messages.Embedded` or `messages.Refused`."""

        async def work() -> Record:
            asked = messages.decode(request, EmbedTexts)
            identity = self._identity(asked)
            with self._generations.using(asked.model, identity) as models:
                loaded = models.networks.of(identity)
                rows = await self._embed(models, list(asked.texts), identity)
                return messages.Embedded(rows=rows, space=loaded.model.info.space)

        return await self._answered(request, work)

    def _identity(self, asked: EmbedTexts) -> str:
        """Of a model here that gives vectors of the space that is asked for."""
        if asked.space is None:
            with self._generations.using(asked.model) as models:
                require_encoder(asked.model, models.networks.loaded[asked.model].model)
                return models.identities[asked.model]
        for generation in self._generations.all:
            loaded = generation.models.networks.of_space(asked.space)
            if loaded is not None:
                return loaded.model.info.identity
        raise ModelReplaced(f"no text tower of the space {asked.space:.100} is here")

    async def _answered(
        self,
        request: bytes,
        work: Callable[[], Awaitable[Record]],
        refusing: Callable[[str], None] = lambda code: None,
    ) -> bytes:
        """The bytes of what `work` gives, or of what it refuses with; `refusing` is told the code of that."""
        refused: VideoError | None = None
        try:
            answer = await work()
            if not isinstance(answer, Ran) or answer.output.rows:
                self._answered_at = time.monotonic()
        except VideoError as error:
            refused = error
        except Exception as error:  # noqa: BLE001 - it is told to whoever asked, whose it is to try again
            _LOG.exception("a request could not be answered")
            refused = EngineFault(f"{type(error).__name__}: {error}"[:500])
        if refused is not None:
            refusing(refused.code)
            answer = messages.refusal(refused)
        data = messages.encode(answer)
        self._count(requests=1, refused=int(refused is not None), bytes_in=len(request), bytes_out=len(data))
        return data

    def _count(self, **more: int) -> None:
        counted = {name: getattr(self._handled, name) + count for name, count in more.items()}
        self._handled = msgspec.structs.replace(self._handled, **counted)

    def _load(self, config: C, before: M | None) -> M:
        """Make the models of a configuration, on a thread."""
        return self._models(config, networks(config.models, None if before is None else before.networks))

    @abstractmethod
    def _models(self, config: C, found: Networks) -> M:
        """What they run on."""

    @abstractmethod
    async def _embed(self, models: M, texts: list[str], identity: str) -> np.ndarray:
        """float32 [N, D]: vectors of texts by the model of this identity."""

    def _decoding(self) -> tuple[Decoding | None, tuple[Notice, ...]]:
        return None, ()


class _Meters:
    """Tells the metrics how swaps end; see `generations.Watch`."""

    def __init__(self, meters: EngineMeters) -> None:
        self._meters = meters

    def served(self, models: Serving, number: int, took_s: float) -> None:
        """See `Watch.served`."""
        for name, loaded in models.networks.loaded.items():
            self._meters.served(name, loaded.model.info.version, number, took_s)

    def failed(self, wanted: EngineConfig | TextConfig, took_s: float) -> None:
        """See `Watch.failed`."""
        for name in wanted.models:
            self._meters.swap_failed(name, took_s)


def _model(name: str, loaded: Loaded[Any]) -> ModelDescription:
    encoder = loaded.model if is_encoder(loaded.model) else None
    words = None if encoder is None else encoder.known_words
    return ModelDescription(
        name=name,
        info=loaded.model.info,
        likelihood=None if encoder is None else encoder.likelihood,
        known_words=None if words is None else tuple(sorted(words)),
        notices=tuple(Notice(code=one.code, message=one.message) for one in loaded.notices),
    )


def _wanted(config: EngineConfig | TextConfig) -> dict[str, str]:
    return {name: model.source_of(name) for name, model in config.models.items()}


def _own_id() -> str:
    """As Serve's router knows this replica."""
    from ray import serve

    return serve.get_replica_context().replica_id.unique_id
