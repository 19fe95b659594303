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
            # What could not be loaded is tried again by whoever wants it next.
            stack = ExitStack()
            held = self._held[model] = _Held(asyncio.create_task(self._load(model, stack)), stack)
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

    async def close(self) -> None:
        """End all engines; a model that is being loaded is waited for, since nothing stops that."""
        await asyncio.gather(*(held.loading for held in self._held.values()), return_exceptions=True)
        checking = [held.checking for held in self._held.values() if held.checking is not None]
        for task in checking:
            task.cancel()
        await asyncio.gather(*checking, return_exceptions=True)
        for held in self._held.values():
            held.stack.close()

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

    async def _load(self, model: str, stack: ExitStack) -> Toolkit:
        try:
            toolkit = await asyncio.to_thread(
                lambda: stack.enter_context(local_toolkit(model, self._sandbox, settings=self._settings))
            )
            await asyncio.wait_for(toolkit.check(), PATIENCE_S)
        except Exception as error:
            held = self._held[model]
            held.error, held.checked_at = f"{error}" or type(error).__name__, time.monotonic()
            self.changed.set()
            if isinstance(error, TimeoutError):
                # Its threads hang; whoever ended them would wait for them.
                held.error = f"no answer within {PATIENCE_S:g} s"
                raise ModelUnavailable(f"{model} gave no answer within {PATIENCE_S:g} s") from error
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
                await asyncio.wait_for(toolkit.check(), PATIENCE_S)
                held.error = None
            except TimeoutError:
                held.error = f"no answer within {PATIENCE_S:g} s"
            except CheckFailed as failure:
                held.error = str(failure)
            held.checked_at = time.monotonic()
            self.changed.set()


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
