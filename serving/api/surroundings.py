"""What is around the operations: limits, audit, metrics, and the headers of all answers. Composes, no more."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path

import msgspec
from litestar import Litestar
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from serving.api import problem
from serving.api.admission import Admission
from serving.api.allowing import allowed, methods_of
from serving.api.bounded import too_large
from serving.api.cors import Cors, origins_of
from serving.api.heading import Header, headed
from serving.api.observing import LEFT, Observing, streamed
from serving.audit.keeping import Keeping
from serving.audit.reads import MEDIA, Reads
from serving.audit.refusals import Refusals
from serving.db.database import Database
from serving.errors import HeadersTooLarge
from serving.ids import new_id
from serving.limiting import Limits
from serving.metrics.backlog import Backlog
from serving.metrics.disk import Disk
from serving.metrics.meters import Meters
from serving.settings import Settings
from serving.storage.keyring import Keyring


class Surroundings:
    """Of one app."""

    def __init__(self, database: Database, keyring: Keyring, settings: Settings) -> None:
        """Raises InvalidSettings: see `origins_of`."""
        self.meters = Meters()
        self.limits = Limits(database.url)
        self.backlog = Backlog(database, self.meters.registry)
        Disk(Path(settings.server.data_dir), self.meters.registry)
        self.admission = Admission(self.limits, settings.limits, self.meters)
        self._refusals = Refusals(database, self.meters.dropped)
        self.reads = Reads(database)
        self._keeping = Keeping(database, keyring, self.reads.write)
        self._cors = Cors(origins_of(settings.server.cors_origins))

    def dependencies(self) -> dict[str, object]:
        """What handlers may ask for, by name."""
        return {
            "limits": self.limits,
            "meters": self.meters,
            "backlog": self.backlog,
            "admission": self.admission,
            "reads": self.reads,
        }

    def put_around(self, app: Litestar) -> None:
        """Around all that the app answers, paths that lead nowhere included: middleware sees only those that lead
        somewhere."""
        observing = Observing(self.meters, self._refusals)
        app.asgi_handler = Surface(app.asgi_handler, observing, self.reads, self._cors, methods_of(app.routes))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the app serves; at the end, what was refused and read last is written down."""
        await self._keeping.begin()
        writing = [asyncio.create_task(self._refusals.run()), asyncio.create_task(self._keeping.run())]
        try:
            yield
        finally:
            for task in writing:
                task.cancel()
            await asyncio.gather(*writing, return_exceptions=True)
            await self._refusals.write()
            await self._keeping.end(partial(self.reads.write, all=True))
            await self.limits.close()


class Surface:
    """ASGI: where requests come in and answers go out. One layer for all that is done to each of them: a layer for each
    thing costs more than the thing does."""

    def __init__(
        self, app: ASGIApp, observing: Observing, reads: Reads, cors: Cors, methods: Mapping[str, bytes]
    ) -> None:
        """`methods`: see `methods_of`."""
        self._app, self._observing, self._reads, self._cors, self._methods = app, observing, reads, cors, methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status, streaming = LEFT, None
        scope["request_id"] = request_id = new_id("req")  # type: ignore[typeddict-unknown-key]

        async def answered(message: Message) -> None:
            nonlocal status, streaming
            if message["type"] == "http.response.start":
                handler = scope.get("route_handler")
                if handler is not None and MEDIA in handler.opt and scope["method"] != "HEAD":
                    await self._reads.answering(message["status"])
                status, headers = message["status"], list(message["headers"])
                there = {name.lower(): value for name, value in headers}
                streaming = streamed(there, scope["method"])
                if streaming is not None:
                    self._observing.streams(scope, streaming, time.perf_counter() - began)
                message["headers"] = self._headers(scope, status, headed(scope, request_id, headers, there))
            await send(message)

        self._observing.begun()
        try:
            if self._cors and (told := self._cors.preflight(scope)) is not None:
                status = 204
                await send({"type": "http.response.start", "status": status, "headers": told})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            elif (error := too_large(scope)) is not None:
                await _refuse(error, request_id, answered)
            else:
                await self._app(scope, receive, answered)
        finally:
            self._observing.ended(scope, status, streaming, time.perf_counter() - began)

    def _headers(self, scope: HTTPScope, status: int, headers: list[Header]) -> list[Header]:
        if scope["method"] == "OPTIONS":
            headers = allowed(self._methods, scope.get("path_template"), status, headers)
        return [*headers, *self._cors.headers(scope)] if self._cors else headers


async def _refuse(error: HeadersTooLarge, request_id: str, send: Send) -> None:
    told = problem.problem_of(error, request_id)
    # The rest of the connection is not worth reading either.
    headers = [(b"content-type", problem.CONTENT_TYPE.encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": told.status, "headers": headers})
    await send({"type": "http.response.body", "body": msgspec.json.encode(told), "more_body": False})
