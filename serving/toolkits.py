"""Models that are loaded in this process, and checked for as long as they are: each really has to compute something."""

import asyncio
import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from pipeline.errors import CheckFailed, ModelUnavailable, VideoError
from pipeline.sandbox.client import Sandbox
from pipeline.toolkit import Toolkit
from serving.local import local_toolkit
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

    @property
    def hangs(self) -> bool:
        """Whether something was not answered: whoever ended its threads would wait for them."""
        return self.check is not None and not self.check.done()


class LocalToolkits:
    """Loads models as jobs ask for them, each on its own, and keeps them: there are no more than the operator
    allows."""

    def __init__(self, settings: Settings, sandbox: Sandbox) -> None:
        self._settings, self._sandbox = settings, sandbox
        self._held: dict[str, _Held] = {}
        self.changed = asyncio.Event()
        """Set whenever `reports` says something new; whoever waits for it clears it."""

    async def get(self, model: str) -> Toolkit:
        """See `Toolkits.get`. What is loaded is code and memory of this process: callers choose among what the operator
        allows, and no file or address of their own."""
        allowed = self._settings.jobs.models.split(",")
        if model not in allowed:
            raise ModelUnavailable(f"this server runs {', '.join(allowed)}, not {model:.100} (jobs.models)")
        held = self._held.get(model)
        if held is None or (held.toolkit is None and held.loading.done()):
            # What could not be loaded is tried again by whoever wants it next, unless it is still there and hangs.
            if held is not None and held.hangs:
                raise CheckFailed(f"{model}: {held.error}")
            stack = ExitStack()
            loading = asyncio.create_task(self._load(model, stack, None if held is None else held.stack))
            held = self._held[model] = _Held(loading, stack)
            # Nobody need be left who waits for it.
            held.loading.add_done_callback(lambda task: task.cancelled() or task.exception())
            self.changed.set()
        # A job that is stopped meanwhile does not stop others from getting it.
        return await asyncio.shield(held.loading)

    async def serve(self, stop: asyncio.Event) -> None:
        """Load the first model that is allowed, so that it is there before the first job is, until `stop` is set."""
        loading = asyncio.create_task(self._keep_loaded(self._settings.jobs.models.split(",")[0]))
        await stop.wait()
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)

    def reports(self) -> tuple[ModelReport, ...]:
        """What there is to say about each model that was asked for."""
        return tuple(_report(name, held) for name, held in self._held.items())

    async def close(self) -> bool:
        """End all engines, as far as they end soon; whether they did. What is being loaded cannot be stopped, and what
        hangs cannot be ended: a process that is left with such a thing has to be ended itself."""
        checking = [held.checking for held in self._held.values() if held.checking is not None]
        for task in checking:
            task.cancel()
        await asyncio.gather(*checking, return_exceptions=True)
        ending = {asyncio.create_task(_end(held)): held for held in self._held.values()}
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

    async def _load(self, model: str, stack: ExitStack, before: ExitStack | None) -> Toolkit:
        """`before`: what was loaded in vain."""
        try:
            if before is not None:
                await asyncio.to_thread(before.close)
            toolkit = await asyncio.to_thread(
                lambda: stack.enter_context(local_toolkit(model, self._sandbox, settings=self._settings))
            )
            await _checked(self._held[model], toolkit)
        except Exception as error:
            held = self._held[model]
            held.error, held.checked_at = f"{error}" or type(error).__name__, time.monotonic()
            self.changed.set()
            if not held.hangs:
                await asyncio.to_thread(stack.close)
            raise
        held = self._held[model]
        held.toolkit = toolkit
        held.loaded_at = held.checked_at = time.monotonic()
        held.checking = asyncio.create_task(self._keep_checking(held, toolkit))
        self.changed.set()
        return toolkit

    async def _keep_checking(self, held: _Held, toolkit: Toolkit) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                await _checked(held, toolkit)
                held.error = None
            except Exception as failure:  # noqa: BLE001 - whatever it is, that is how the model is
                held.error = f"{failure}" or type(failure).__name__
            held.checked_at = time.monotonic()
            self.changed.set()


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


def _report(name: str, held: _Held) -> ModelReport:
    now = time.monotonic()
    info = None if held.toolkit is None else held.toolkit.encoder.info
    return ModelReport(
        name=name,
        state="failed" if held.error is not None else "loading" if info is None else "ready",
        stands_for=info and info.name,
        version=info and info.version,
        space=info and info.space,
        dim=info and info.dim,
        device=info and info.device,
        dtype=info and info.dtype,
        loaded_ago_s=None if info is None else round(now - held.loaded_at, 3),
        checked_ago_s=None if held.checked_at is None else round(now - held.checked_at, 3),
        error=held.error,
    )
