"""What is around the operations: limits, audit, metrics, and the headers of all answers. Composes, no more."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from litestar import Litestar

from serving.api.admission import Admission
from serving.api.allowing import Allowing
from serving.api.bounded import Bounded
from serving.api.cors import Cors, origins_of
from serving.api.heading import Heading
from serving.api.observing import Observing
from serving.audit.refusals import Refusals
from serving.db.database import Database
from serving.limiting import Limits
from serving.metrics.backlog import Backlog
from serving.metrics.meters import Meters
from serving.settings import Settings


class Surroundings:
    """Of one app."""

    def __init__(self, database: Database, settings: Settings) -> None:
        """Raises InvalidSettings: see `origins_of`."""
        self.meters = Meters()
        self.limits = Limits(database.url)
        self.backlog = Backlog(database, self.meters.registry)
        self.admission = Admission(self.limits, settings.limits, self.meters)
        self._refusals = Refusals(database, self.meters.refusals_dropped.inc)
        self._origins = origins_of(settings.server.cors_origins)

    def dependencies(self) -> dict[str, object]:
        """What handlers may ask for, by name."""
        return {"limits": self.limits, "meters": self.meters, "backlog": self.backlog, "admission": self.admission}

    def put_around(self, app: Litestar) -> None:
        """Around all that the app answers, paths that lead nowhere included: middleware sees only those that lead
        somewhere."""
        inner = Cors(Heading(Bounded(Allowing(app.asgi_handler, app.routes))), self._origins)
        app.asgi_handler = Observing(inner, self.meters, self._refusals)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the app serves; at the end, what was refused last is written down."""
        writing = asyncio.create_task(self._refusals.run())
        try:
            yield
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            await self._refusals.write()
            await self.limits.close()
