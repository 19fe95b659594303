"""Models that are loaded in this process, and checked for as long as they are: each really has to compute something."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Final
from weakref import ref

from models.stamps import Stamp, changed, stamp
from pipeline.allocator import free_memory
from pipeline.errors import CheckFailed, ModelUnavailable, VideoError
from pipeline.sandbox.client import Sandbox
from pipeline.toolkit import Toolkit
from serving.loading_once import Once
from serving.local import loader, local_toolkit
from serving.named_models import PLAIN, allowed, named_models
from serving.settings import Settings
from serving.workers import ModelReport

_LOG = logging.getLogger(__name__)

#: How often a loaded model is checked, seconds.
CHECK_S: Final = 30.0

#: How long it has for that, behind all frames that wait, seconds.
PATIENCE_S: Final = 60.0

#: How long engines have to end, all together, seconds.
CLOSE_S: Final = 3.0

#: What engines that hang are held by, to the end of the process.
_NEVER_ENDED: Final[list[ExitStack]] = []


@dataclass(slots=True)
class _Held:
    """A model, from when it was first asked for."""

    loading: "asyncio.Task[Toolkit]"
    stack: ExitStack
    toolkit: Toolkit | None = None
    """None while it is loaded, and where it could not be."""
    loaded_at: float = 0.0
    """By `time.monotonic`, as is `checked_at`."""
    checked_at: float | None = None
    """When it was last found out whether it works."""
    error: str | None = None
    checking: "asyncio.Task[None] | None" = None
    """Has it compute something now and then, once it is loaded."""
    check: "asyncio.Task[None] | None" = None
    """That is under way, however long ago it was given up."""
    jobs: "list[ref[Toolkit]]" = field(default_factory=list)
    """What jobs were given, for as long as they have it."""
    needed_at: float = 0.0
    """By `time.monotonic`: when a job last got it, or let go of it."""
    stamps: tuple[Stamp | None, ...] = ()
    """Of the files behind the names, as they were when it began to be loaded."""
    replaced: bool = False
    """Whether the files are others by now: it is for the jobs that have it, and for no new ones."""
    leaving: "asyncio.Task[None] | None" = None
    """Unloads it."""

    @property
    def hangs(self) -> bool:
        """Whether something was not answered: whoever ended its threads would wait for them."""
        return self.check is not None and not self.check.done()

    def lend(self, toolkit: Toolkit) -> Toolkit:
        """One for a job, of which it is known when the job lets go of it."""
        lent = replace(toolkit)
        self.jobs.append(ref(lent, self._let_go))
        self.needed_at = time.monotonic()
        return lent

    def _let_go(self, job: "ref[Toolkit]") -> None:
        self.jobs.remove(job)
        self.needed_at = time.monotonic()

    @property
    def idle_s(self) -> float:
        """How long no job has had it, seconds."""
        return 0.0 if self.jobs else time.monotonic() - self.needed_at


Together = tuple[str, ...]
"""Names of models that one engine runs: the encoder, and then those that look on besides."""


class LocalToolkits:
    """Loads models as jobs ask for them, and keeps them until no job has had them for `jobs.model_ttl_s`; the first
    that is allowed for ever. For each set of models that is asked for together there is an engine; a model that is in
    several is there once. Where the file of a model was replaced, new jobs get the new one, and those that have the old
    one end with it."""

    def __init__(self, settings: Settings, sandbox: Sandbox) -> None:
        self._settings, self._sandbox = settings, sandbox
        self._allowed = allowed(settings)
        self._load_model = Once(loader(settings), self._stamp)
        self._named = named_models(settings)
        self._held: dict[Together, _Held] = {}
        self._replaced: list[_Held] = []
        self.changed = asyncio.Event()
        """Set whenever `reports` says something new; whoever waits for it clears it."""

    async def get(self, model: str, also: Sequence[str] = ()) -> Toolkit:
        """See `Toolkits.get`. What is loaded is code and memory of this process: callers choose among what the operator
        allows, and no file or address of their own."""
        together = (model, *also)
        for name in together:
            if name not in self._allowed:
                raise ModelUnavailable(f"this server runs {', '.join(self._allowed)}, not {name:.100} (jobs.models)")
        while (held := self._held.get(together)) is not None and held.leaving is not None:
            # It would be in memory twice.
            await asyncio.shield(held.leaving)
        stamps = tuple(map(self._stamp, together))
        if held is not None and held.toolkit is not None and any(map(changed, held.stamps, stamps)):
            held.replaced = True
            self._replaced.append(self._held.pop(together))
            held = None
        if held is None or (held.toolkit is None and held.loading.done()):
            # What could not be loaded is tried again by whoever wants it next, unless it is still there and hangs.
            if held is not None and held.hangs:
                raise CheckFailed(f"{model}: {held.error}")
            stack = ExitStack()
            loading = asyncio.create_task(self._load(together, stack, None if held is None else held.stack))
            held = self._held[together] = _Held(loading, stack, stamps=stamps)
            # Nobody need be left who waits for it.
            held.loading.add_done_callback(lambda task: task.cancelled() or task.exception())
            self.changed.set()
        # A job that is stopped meanwhile does not stop others from getting it.
        toolkit = await asyncio.shield(held.loading)
        return held.lend(toolkit) if held.leaving is None else await self.get(model, also)

    async def serve(self, stop: asyncio.Event) -> None:
        """Load the first model that is allowed, so that it is there before the first job is, until `stop` is set."""
        loading = asyncio.create_task(self._keep_loaded(self._allowed[0]))
        await stop.wait()
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)

    def reports(self) -> tuple[ModelReport, ...]:
        """What there is to say about each model that was asked for."""
        found: dict[str, ModelReport] = {}
        for together, held in self._held.items():
            for name in together:
                told = _report(name, held, first=name == together[0])
                if name not in found or found[name].state != "ready":
                    found[name] = told
        return tuple(found.values())

    async def close(self) -> bool:
        """End all engines, as far as they end soon; whether they did. What is being loaded cannot be stopped, and what
        hangs cannot be ended: a process that is left with such a thing has to be ended itself."""
        every = (*self._held.values(), *self._replaced)
        checking = [held.checking for held in every if held.checking is not None]
        for task in checking:
            task.cancel()
        await asyncio.gather(*checking, return_exceptions=True)
        ending = {held.leaving or asyncio.create_task(_end(held)): held for held in every}
        _, hanging = await asyncio.wait(ending, timeout=CLOSE_S) if ending else (set(), set())
        for task in hanging:
            # Were nobody to have it any more, it would be ended, and waited for.
            _NEVER_ENDED.append(ending[task].stack)
            task.cancel()
        return not hanging

    async def _keep_loaded(self, model: str) -> None:
        while True:
            try:
                await self.get(model)
            except VideoError:
                # Why is in the report; what is missing may come.
                pass
            except Exception:  # noqa: BLE001 - jobs of other models are none the worse for it
                _LOG.exception("the model %s could not be loaded", model)
            await asyncio.sleep(CHECK_S)

    async def _load(self, together: Together, stack: ExitStack, before: ExitStack | None) -> Toolkit:
        """`before`: what was loaded in vain."""
        model, *also = together
        settings, load = self._settings, self._load_model
        try:
            if before is not None:
                await asyncio.to_thread(before.close)
            toolkit = await asyncio.to_thread(
                lambda: stack.enter_context(
                    local_toolkit(model, self._sandbox, settings=settings, also=also, load=load)
                )
            )
            await _checked(self._held[together], toolkit)
        except Exception as error:
            held = self._held[together]
            held.error, held.checked_at = f"{error}" or type(error).__name__, time.monotonic()
            self.changed.set()
            if not held.hangs:
                await asyncio.to_thread(stack.close)
            raise
        held = self._held[together]
        held.toolkit = toolkit
        held.loaded_at = held.checked_at = held.needed_at = time.monotonic()
        held.checking = asyncio.create_task(self._keep_checking(together, held, toolkit))
        self.changed.set()
        return toolkit

    async def _keep_checking(self, together: Together, held: _Held, toolkit: Toolkit) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            if not held.hangs and self._is_over(together, held):
                # A task of its own, because this one has the toolkit.
                held.leaving = asyncio.create_task(self._unload(together, held))
                return
            try:
                await _checked(held, toolkit)
                held.error = None
            except Exception as failure:  # noqa: BLE001 - whatever it is, that is how the model is
                held.error = f"{failure}" or type(failure).__name__
            held.checked_at = time.monotonic()
            self.changed.set()

    def _is_over(self, together: Together, held: _Held) -> bool:
        """Whether no job needs it, nor is likely to soon."""
        if held.replaced:
            return not held.jobs
        ttl_s = self._settings.jobs.model_ttl_s
        return ttl_s > 0 and together != (self._allowed[0],) and held.idle_s >= ttl_s

    async def _unload(self, together: Together, held: _Held) -> None:
        await _end(held)
        if held.replaced:
            self._replaced = [other for other in self._replaced if other is not held]
        else:
            del self._held[together]
        why = "its file was replaced" if held.replaced else "no job has needed it for a while"
        del held
        self.changed.set()
        await asyncio.to_thread(free_memory)
        _LOG.info("unloaded, because %s: %s", why, ", ".join(together))

    def _stamp(self, name: str) -> Stamp | None:
        config = self._named.get(name, PLAIN)
        return stamp(config.source_of(name), config.options)


async def _end(held: _Held) -> None:
    await asyncio.wait({task for task in (held.loading, held.check) if task is not None})
    await asyncio.to_thread(held.stack.close)


async def _checked(held: _Held, toolkit: Toolkit) -> None:
    """Have it compute something; one that hangs is not asked again, but waited for.

    Raises:
        CheckFailed: it did not, or gave no answer in time.
    """
    if held.check is None:
        held.check = asyncio.create_task(toolkit.check())
        # Nobody need be left who waits for it.
        held.check.add_done_callback(lambda task: task.cancelled() or task.exception())
    done, _ = await asyncio.wait({held.check}, timeout=PATIENCE_S)
    if not done:
        raise CheckFailed(f"no answer within {PATIENCE_S:g} s")
    check, held.check = held.check, None
    check.result()


def _report(name: str, held: _Held, *, first: bool) -> ModelReport:
    """`first`: whether it is the encoder of those that are held together."""
    now = time.monotonic()
    toolkit = held.toolkit
    info = None if toolkit is None else toolkit.encoder.info if first else toolkit.added[name]
    return ModelReport(
        name=name,
        state="failed" if held.error is not None else "loading" if info is None else "ready",
        stands_for=info and info.name,
        version=info and info.version,
        space=info and info.space,
        dim=info and info.dim,
        device=info and info.device,
        dtype=info and info.dtype,
        kind=info and info.kind,
        loaded_ago_s=None if info is None else round(now - held.loaded_at, 3),
        checked_ago_s=None if held.checked_at is None else round(now - held.checked_at, 3),
        error=held.error,
    )
