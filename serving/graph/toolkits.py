"""What jobs of a graph's worker are run with: the engines that are there, and what they say of themselves."""

import asyncio
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pipeline.errors import EngineFault, EngineUnavailable, ModelUnavailable
from pipeline.media import Media
from pipeline.opened import Video
from pipeline.report import Notice
from pipeline.toolkit import Toolkit
from serving.beside import no_encoder
from serving.graph.calling import PATIENCE_S, Remote
from serving.graph.messages import ModelDescription, ReplicaDescription
from serving.graph.metrics import WorkerMeters
from serving.graph.remote import RemoteEncoder, RemoteEngine, Slots
from serving.graph.seen import NOTHING, Rest, Seen, chosen, models_of, news, reported
from serving.workers import ModelReport

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

#: How often engines are asked how they are, seconds.
POLL_S: Final = 3.0

#: How soon an engine that does not answer is asked again by whoever needs it, seconds.
_AGAIN_S: Final = 1.0

#: How long an engine on demand is asked how it is after somebody needed it last, seconds: a pause between two Clips of
#: a job is shorter. To be asked is a request to Serve, which takes no replica away for as long as there are any.
_LATELY_S: Final = 15.0

#: How long an engine that was there may have no replica to Serve before it is said to be gone, seconds: while one takes
#: over a new configuration it is none, for a moment.
_GAP_S: Final = 2.0

Traffic = Mapping[str, Mapping[str, float]]
"""Model -> engines that run jobs which ask for it -> their shares, see `args.WorkerConfig`."""


class GraphToolkits:
    """See `serving.working.Models`. Which model and version a job is run with is decided once, when it begins."""

    def __init__(
        self,
        engines: "Mapping[str, DeploymentHandle]",
        text: "DeploymentHandle",
        open: Callable[[Video], Media],
        *,
        traffic: Traffic,
        clips_in_flight: int,
        on_demand: Collection[str] = (),
        notices: tuple[Notice, ...] = (),
        patience_s: float = PATIENCE_S,
    ) -> None:
        """
        Args:
            engines: name of an engine, as in `args.GraphArgs.engines` -> handle of its deployment.
            open: what videos are read with, in this process.
            traffic: see `configure`, as are `clips_in_flight` and `on_demand`.
            notices: what callers should know of how videos are read here.
            patience_s: how long engines may be silent before a job is given back, seconds.
        """
        meters = WorkerMeters()
        self._engines = {
            name: Remote(name, handle, patience_s=patience_s, resent=meters.resent) for name, handle in engines.items()
        }
        # Whoever has no text tower at once is helped by the engine, which has one, too.
        self._text = Remote("text", text, patience_s=POLL_S)
        self._open = open
        self._patience_s = patience_s
        self._notices = notices
        self._slots = Slots(clips_in_flight, meters.in_flight)
        self._traffic = traffic
        self._on_demand = frozenset(on_demand)
        self._seen: dict[str, Seen] = {}
        self.changed = asyncio.Event()
        """Set whenever `reports` says something new; whoever waits for it clears it."""

    def configure(self, *, traffic: Traffic, clips_in_flight: int, on_demand: Collection[str] = ()) -> None:
        """Go by these from now on.

        Args:
            traffic: the engines that run a model, and their shares; a model that is not named is run by the one that
                has it.
            clips_in_flight: Clips that are out at once, over all jobs of this process.
            on_demand: engines that may have no replica. A job wakes them; the others are expected to be there.
        """
        self._traffic = traffic
        self._on_demand = frozenset(on_demand)
        self._slots.allow(clips_in_flight)
        self.changed.set()

    async def get(self, model: str, also: Sequence[str] = ()) -> Toolkit:
        """See `Toolkits.get`. The toolkit belongs to one job: all its frames are seen by one version of the model.

        Raises:
            ModelUnavailable: no engine has it.
            EngineUnavailable: the engine that has it does not answer, or one that may have it, however long one waits.
        """
        until_s = time.monotonic() + self._patience_s
        while True:
            try:
                return await self._now(model, also, until_s)
            except EngineUnavailable:
                if time.monotonic() > until_s:
                    raise
            await asyncio.sleep(_AGAIN_S)

    async def _now(self, model: str, also: Sequence[str], until_s: float) -> Toolkit:
        name = await self._engine_of(model)
        engine = self._engines[name]
        with engine.needed():
            await self._look(name)
            if self._seen[name].gone:
                await self._wake(name, until_s)
        seen = self._seen[name]
        if seen.silent is not None:
            raise EngineUnavailable(seen.silent)
        found = chosen(seen.replicas, model)
        if found is None:
            raise ModelUnavailable(f"the engine {name} has no model {model:.100}")
        replica, described = found
        assert replica.decoding is not None
        if described.likelihood is None:
            raise ModelUnavailable(no_encoder(model, described.info))
        others = [self._beside(name, other) for other in also]
        notices = [notice for one in (described, *others) for notice in one.notices]
        return Toolkit(
            engine=RemoteEngine(engine, described, self._slots, others),
            encoder=RemoteEncoder(self._text, engine, described),
            decoding=replica.decoding,
            open=self._open,
            notices=tuple(dict.fromkeys((*notices, *replica.notices, *self._notices))),
            added={one.name: one.info for one in others},
        )

    def _beside(self, engine: str, model: str) -> ModelDescription:
        """A model that is to look on besides, at the engine that runs the job.

        Raises:
            ModelUnavailable: that engine does not have it.
        """
        found = chosen(self._said(engine).replicas, model)
        if found is None:
            has = ", ".join(self._models(engine))
            raise ModelUnavailable(
                f"the engine {engine}, which runs this job, has no model {model:.100}; it has {has} "
                "(models that look at the same frames are models of one engine)"
            )
        return found[1]

    def reports(self) -> tuple[ModelReport, ...]:
        """What engines said last: one for each of their models."""
        return tuple(
            reported(name, model, self._said(name), self._traffic.get(model, {}).get(name), self._rest(name))
            for name in self._engines
            for model in self._models(name)
        )

    async def serve(self, stop: asyncio.Event) -> None:
        """Ask the engines how they are, until `stop` is set."""
        ending = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                await asyncio.gather(*(self._look(name) for name in self._engines if self._is_asked(name)))
                await asyncio.wait({ending}, timeout=POLL_S)
        finally:
            ending.cancel()

    async def close(self) -> bool:
        """As `LocalToolkits.close`; engines are others' to end."""
        return True

    async def _engine_of(self, model: str) -> str:
        """The engine that a job that asks for this model now is run by."""
        shares = self._traffic.get(model)
        if shares is not None:
            return random.choices(list(shares), list(shares.values()))[0]
        # The models of those on demand are all in `traffic`.
        always = [name for name in self._engines if name not in self._on_demand]
        holder = self._holder(model, always)
        if holder is None:
            await asyncio.gather(*(self._look(name) for name in always))
            holder = self._holder(model, always)
        if holder is not None:
            return holder
        for name in always:
            if (silent := self._said(name).silent) is not None:
                raise EngineUnavailable(silent)
        known = sorted({*self._traffic, *(known for name in always for known in self._models(name))})
        raise ModelUnavailable(f"the engines here run {', '.join(known)}, not {model:.100}")

    def _holder(self, model: str, engines: Collection[str]) -> str | None:
        return next((name for name in engines if model in self._models(name)), None)

    def _said(self, name: str) -> Seen:
        return self._seen.get(name, NOTHING)

    def _models(self, name: str) -> list[str]:
        """Names that jobs may ask an engine for, as far as that is known."""
        said = models_of(self._said(name).replicas)
        if name not in self._on_demand or (said and self._rest(name) is None):
            return said
        # What it had when it was there last may have been replaced since.
        return [model for model, shares in self._traffic.items() if name in shares]

    def _is_asked(self, name: str) -> bool:
        """Whether it is asked now and then how it is."""
        return name not in self._on_demand or self._engines[name].idle_s < _LATELY_S

    def _rest(self, name: str) -> Rest | None:
        """How an engine on demand is, where what it said last does not count any more."""
        if name not in self._on_demand:
            return None
        said = self._said(name)
        if said.gone and not self._engines[name].idle_s:
            return "loading"
        if not self._is_asked(name) or (said.gone and said.silent is None):
            return "asleep"
        return None

    async def _look(self, name: str) -> None:
        """Have an engine say how it is."""
        before = self._said(name)
        try:
            found = await self._present(name)
        except EngineUnavailable as error:
            self._see(name, replace(before, silent=str(error), gone=False))
            return
        if found:
            self._see(name, Seen(found, time.monotonic()))
        elif name in self._on_demand:
            self._see(name, replace(before, gone=True))
        else:
            self._see(name, replace(before, silent=f"no replica of {name} is there", gone=False))

    async def _present(self, name: str) -> tuple[ReplicaDescription, ...]:
        """As `Remote.present`; one that should be there and was is looked for a little longer."""
        until_s = time.monotonic() + _GAP_S
        while True:
            found = await self._engines[name].present()
            expected = name not in self._on_demand and self._said(name).replicas and not self._said(name).silent
            if found or not expected or time.monotonic() > until_s:
                return found
            await asyncio.sleep(_GAP_S / 10)

    async def _wake(self, name: str, until_s: float) -> None:
        """Have Serve start an engine that has no replica, and wait until it says how it is, or until it is too late."""
        self.changed.set()
        try:
            async with asyncio.timeout(until_s - time.monotonic()):
                self._see(name, Seen(await self._engines[name].woken(), time.monotonic()))
        except (EngineUnavailable, EngineFault, TimeoutError) as error:
            # Replicas that end while they are asked how they are, too, are none of the jobs' fault.
            silent = str(error) or f"no replica of {name} has started within {self._patience_s:g} s"
            self._see(name, replace(self._said(name), silent=silent))

    def _see(self, name: str, seen: Seen) -> None:
        before = self._seen.get(name)
        self._seen[name] = seen
        if before is None or news(before) != news(seen):
            self.changed.set()
