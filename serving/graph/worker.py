"""A replica of `worker`: a worker as any other, whose models are in the engines of the graph."""

import asyncio
import time
from collections.abc import Awaitable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import CheckFailed
from pipeline.sandbox.client import Sandbox
from pipeline.sandbox.media import SandboxedMedia
from serving import dumps
from serving.errors import DatabaseUnavailable
from serving.graph.args import WORKER, WorkerConfig, worker_config
from serving.local import isolation_notices
from serving.places import Places, places
from serving.settings import load

if TYPE_CHECKING:
    # What speaks to the database is not worth its time in the process that only builds the application.
    from ray.serve.handle import DeploymentHandle

    from serving.graph.toolkits import GraphToolkits
    from serving.working import Working

#: For how long a worker may not have got through to its database before it is found out why, seconds.
SILENT_S: Final = 60.0


class WorkerReplica:
    """The deployment `worker`. Takes no requests: what it is to do is in the database.

    Where that is and where videos are, its process's environment says, as any other process of the server's.
    """

    _ended = True
    """Until it is made: then there is nothing to be ended."""

    def __init__(self, engines: "Mapping[str, DeploymentHandle]", text: "DeploymentHandle") -> None:
        """`engines`: name of each engine -> its deployment."""
        dumps.forbid()
        self._engines, self._text = engines, text
        self._settings = load().settings
        self._config: WorkerConfig | None = None
        self._held = ExitStack()
        self._place: Places | None = None
        self._toolkits: GraphToolkits | None = None
        self._working: Working | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._ended = False

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Work as `args.WorkerConfig` says. With another number of slots, jobs that are under way are finished or given
        back first; everything else holds from the next Clip or job on.

        Raises:
            InvalidGraph: it says what cannot be.
            DatabaseUnavailable, DatabaseMisconfigured: see `waiting.reached`; at the first start only.
        """
        from serving.graph.toolkits import GraphToolkits
        from serving.working import Working

        config = worker_config(user_config, f"{WORKER}.user_config")
        if self._place is None:
            self._place = await self._reached()
        if self._toolkits is None:
            sandbox = self._held.enter_context(Sandbox(self._settings.worker))
            self._toolkits = GraphToolkits(
                self._engines,
                self._text,
                partial(SandboxedMedia, sandbox=sandbox, limits=self._settings.input),
                traffic=config.traffic,
                clips_in_flight=config.clips_in_flight,
                on_demand=config.on_demand,
                notices=await asyncio.to_thread(isolation_notices, sandbox),
            )
        else:
            self._toolkits.configure(
                traffic=config.traffic, clips_in_flight=config.clips_in_flight, on_demand=config.on_demand
            )
        if self._config is None or self._config.slots != config.slots:
            await self._finish()
            self._stop = asyncio.Event()
            self._working = Working(self._place, self._settings, self._toolkits, slots=config.slots)
            self._task = asyncio.create_task(self._working.serve(self._stop))
        self._config = config

    async def check_health(self) -> None:
        """Whether it works. Serve asks now and then, and replaces a replica where this raises.

        A database that is away is no reason: nothing would be gained by another replica, which would have to be loaded
        again and again meanwhile. Only where the database answers, and this replica alone does not get through to it,
        another one may.

        Raises:
            CheckFailed: it does not; says why.
        """
        if self._task is None or self._working is None or self._place is None:
            return
        if self._task.done() and not self._stop.is_set():
            error = None if self._task.cancelled() else self._task.exception()
            raise CheckFailed(f"the worker has ended: {error!r}")
        silent_s = time.monotonic() - self._working.presence.said_at
        if silent_s > SILENT_S and not self._stop.is_set() and await _answers(self._place.database_url):
            raise CheckFailed(f"the database answers, but nothing got through to it for {silent_s:.0f} s")

    async def close(self) -> None:
        """Finish what is under way, or give it back, within ten seconds."""
        self._ended = True
        await self._finish()
        await asyncio.to_thread(self._held.close)

    def __del__(self) -> Awaitable[None] | None:
        """Serve calls this when it takes the replica away, and awaits what it gives. Python does, too, but awaits
        nothing; then it was closed before."""
        return None if self._ended else self.close()

    async def _finish(self) -> None:
        if self._task is not None:
            self._stop.set()
            # Why it ended before, `check_health` has said.
            await asyncio.wait({self._task})

    async def _reached(self) -> Places:
        from serving.db.waiting import PATIENCE_S, reached
        from serving.storage.known import require_known

        place = await asyncio.to_thread(self._held.enter_context, places(self._settings, migrated=False, asked=False))
        await reached(place.database_url, PATIENCE_S)
        await require_known(place.database_url, place.keyring)
        return place


async def _answers(url: str) -> bool:
    """Whether a database lets in who comes anew."""
    from serving.db.database import Database

    database = Database(url, pool_size=1)
    try:
        await database.check()
    except DatabaseUnavailable:
        return False
    finally:
        await database.close()
    return True
