"""Models that are replaced while they serve: the next ones are loaded beside them and tried, and only then asked.

Whatever goes wrong with the next ones (no file, wrong weights, no memory, an answer that is none, no answer at all) is
written down, and the ones that serve go on. Whoever began with a model ends with it: those that were replaced stay as
long as somebody asks for just them.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from pipeline.allocator import free_memory
from pipeline.checking import told
from pipeline.errors import ModelReplaced, ModelUnavailable
from serving.own_thread import on_own_thread

_LOG = logging.getLogger(__name__)

#: Generations that stay for those who began with them, at most: each has the memory of its models. Of more, the one
#: that was asked longest ago goes, and who wants it begins anew.
MOST_OLD: Final = 2


class Models(Protocol):
    """Models that were loaded together, and what they run on."""

    @property
    def identities(self) -> Mapping[str, str]:
        """The name under which jobs ask -> which numbers come out, see `models.base.ModelInfo.identity`."""
        ...

    async def check(self) -> None:
        """Have each compute something. Raises where one does not."""
        ...

    def close(self) -> None:
        """End what they run on; nothing is under way any more."""
        ...


M = TypeVar("M", bound=Models)
C = TypeVar("C")
M_in = TypeVar("M_in", contravariant=True)
C_in = TypeVar("C_in", contravariant=True)


class Watch(Protocol[C_in, M_in]):
    """Is told how swaps end."""

    def served(self, models: M_in, number: int, took_s: float) -> None:
        """These are what new jobs get from now on."""
        ...

    def failed(self, wanted: C_in, took_s: float) -> None:
        """The models that were there go on."""
        ...


@dataclass(slots=True)
class Generation(Generic[M]):
    """Models that serve, or did."""

    number: int
    models: M
    loaded_at: float
    """By the clock of `Generations`, as `asked_at`."""
    asked_at: float
    """When somebody wanted it last."""
    using: int = 0
    """Requests that are under way on it."""
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while there is none."""


@dataclass(frozen=True, slots=True)
class Failure(Generic[C]):
    """Models that were to come and did not."""

    wanted: C
    error: str
    at: float


class Generations(Generic[C, M]):
    """The models of a replica, by and by. Belongs to one event loop."""

    def __init__(
        self,
        load: Callable[[C, M | None], M],
        prove: Callable[[M], Awaitable[None]],
        *,
        timeout_s: Callable[[C], float],
        linger_s: Callable[[C], float],
        watch: "Watch[C, M] | None" = None,
        stale: Callable[[M], bool] = lambda models: False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            load: makes the models of a configuration, on a thread; is given those that serve, of which it may take
                over what stays as it is.
            prove: raises where new models do not compute as they should.
            timeout_s: how long both may take together, by the configuration.
            linger_s: how long models that were replaced stay after somebody wanted just them.
            watch: is told how swaps end.
            stale: whether the same configuration would give others by now, for files were replaced.
        """
        self._load, self._prove = load, prove
        self._timeout_s, self._linger_s = timeout_s, linger_s
        self._watch, self._stale = watch, stale
        self._now = now
        self._generations: list[Generation[M]] = []
        self._count = 0
        self.config: C | None = None
        """Of the current generation."""
        self.coming: C | None = None
        """What is being loaded beside it."""
        self.failure: Failure[C] | None = None
        """Of the last swap, if it failed."""
        self._swapping: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()

    @property
    def current(self) -> Generation[M] | None:
        """What new jobs get; None before the first one is there."""
        return self._generations[0] if self._generations else None

    @property
    def all(self) -> tuple[Generation[M], ...]:
        """The current one and those that stay for now."""
        return tuple(self._generations)

    async def change(self, config: C) -> None:
        """Go over to the models of `config`. The first ones are waited for; of later ones this only begins to load, and
        gives up what else was being loaded.

        Raises:
            ModelUnavailable: the first ones are not to be had; says why.
        """
        if config == self.coming:
            return
        if self._swapping is not None:
            self._swapping.cancel()
        self.coming = self.failure = None
        if self.current is None:
            began = self._now()
            try:
                models = await self._made(config, None)
            except Exception as error:  # noqa: BLE001 - told as what it is to whoever starts this
                raise ModelUnavailable(told(error)) from None
            self._enter(config, models, began)
        elif config != self.config or self._stale(self.current.models):
            self.coming = config
            self._swapping = asyncio.create_task(self._swap(config))

    @contextmanager
    def using(self, model: str, identity: str | None = None) -> Iterator[M]:
        """The models that answer to the name `model`, for as long as the block lasts.

        Args:
            identity: of the numbers that have to come out; None: whatever they are now.

        Raises:
            ModelUnavailable: there is no such name.
            ModelReplaced: nothing here gives such numbers any more, or not yet.
        """
        generation = self._found(model, identity)
        generation.using += 1
        generation.asked_at = self._now()
        generation.idle.clear()
        try:
            yield generation.models
        finally:
            generation.using -= 1
            generation.asked_at = self._now()
            if not generation.using:
                generation.idle.set()

    async def close(self) -> None:
        """End all of them; what is being loaded is let go when it comes."""
        tasks = [task for task in (self._swapping, *self._retiring) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self._generations:
            await asyncio.to_thread(self._generations.pop().models.close)

    def _found(self, model: str, identity: str | None) -> Generation[M]:
        if identity is None:
            current = self.current
            if current is None or model not in current.models.identities:
                raise ModelUnavailable(f"there is no model {model:.100} here")
            return current
        for generation in self._generations:
            if identity in generation.models.identities.values():
                return generation
        raise ModelReplaced(f"the model {model:.100} is another one by now")

    async def _swap(self, config: C) -> None:
        current = self.current
        assert current is not None
        began = self._now()
        try:
            models = await self._made(config, current.models)
        except Exception as error:  # noqa: BLE001 - whatever it is, the old ones go on
            self.failure = Failure(config, told(error), self._now())
            self.coming = None
            if self._watch is not None:
                self._watch.failed(config, self._now() - began)
            _LOG.warning("new models were not taken: %s", self.failure.error)
            # Its traceback holds what was loaded so far.
            del error
            await asyncio.to_thread(free_memory)
            return
        self._enter(config, models, began)

    async def _made(self, config: C, before: M | None) -> M:
        """New models that have shown that they compute."""
        limit_s = self._timeout_s(config)
        limit = asyncio.timeout(limit_s)
        try:
            async with limit:
                models = await on_own_thread(lambda: self._load(config, before), self._let_go)
                try:
                    await self._prove(models)
                except BaseException:
                    self._let_go(models)
                    raise
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimeoutError(f"not loaded and checked within {limit_s:g} s") from None
        return models

    def _enter(self, config: C, models: M, began: float) -> None:
        now = self._now()
        self._count += 1
        before = self.current
        self._generations.insert(0, Generation(self._count, models, now, now))
        self._generations[0].idle.set()
        self.config, self.coming, self.failure = config, None, None
        if self._watch is not None:
            self._watch.served(models, self._count, now - began)
        if before is not None:
            task = asyncio.create_task(self._retire(before))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def _retire(self, old: Generation[M]) -> None:
        """Keep it for those who want it, then free its memory."""
        while not self._is_superseded(old):
            assert self.config is not None
            left_s = old.asked_at + self._linger_s(self.config) - self._now()
            if not old.using and left_s <= 0:
                break
            await asyncio.sleep(min(max(left_s, 0.05), 1.0))
        # From here on nobody finds it any more; who has it already ends with it.
        self._generations.remove(old)
        try:
            await old.idle.wait()
        finally:
            # Also where this is canceled: nobody else would end it.
            models = old.models
            del old.models
            await _to_the_end(models.close)
            del models
        await asyncio.to_thread(free_memory)

    def _is_superseded(self, old: Generation[M]) -> bool:
        """Whether what is newer gives all that it gives, or there are too many that stay."""
        place = self._generations.index(old)
        newer = {identity for one in self._generations[:place] for identity in one.models.identities.values()}
        if set(old.models.identities.values()) <= newer:
            return True
        stay = sorted(self._generations[1:], key=lambda one: one.asked_at, reverse=True)
        return old in stay[MOST_OLD:]

    def _let_go(self, models: M) -> None:
        """Of models that nobody will ask."""
        threading.Thread(target=models.close, name="let-go", daemon=True).start()


async def _to_the_end(work: Callable[[], None]) -> None:
    """Do something in a thread, and wait for its end even where that is canceled: one that waits for a free thread
    would never begin."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
