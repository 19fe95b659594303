"""Puts the API together. Composes, no more."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from litestar import Litestar, Request, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from serving.api import health, keys_resource, pages
from serving.api.access import OPEN, Principal, guard
from serving.api.authentication import Identification
from serving.api.events import watch
from serving.api.jobs import Jobs
from serving.api.keys import Keys
from serving.api.problem import handle
from serving.api.schema import RecordSchema
from serving.api.tus import ResumableUploads
from serving.api.tus_views import UploadRecords
from serving.api.uploads import upload
from serving.api.videos import Videos
from serving.api.webhooks import Webhooks
from serving.db.database import Database
from serving.db.quick import QuickReads
from serving.jobs.events import CHANNEL
from serving.jobs.listening import Listener
from serving.settings import Settings
from serving.storage.store import Store
from serving.uploads.tus import Uploads

#: Bodies that are no videos.
_MAX_BODY_BYTES = 4 << 20


def create_app(database: Database, store: Store, settings: Settings, secret: bytes) -> Litestar:
    """The API over a database and a store. `secret`: what keys are recognised by, see `Keys`.

    Raises:
        ValueError: an operation does not say who may do it, or has no id; a fault of ours that shows at the start.
    """
    keys = Keys(database, secret)
    listener = Listener(database.url, (CHANNEL,))
    quick = QuickReads(database.url)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(listener)
            stack.push_async_callback(database.close)
            stack.push_async_callback(quick.close)
            yield

    def given(value: object) -> Provide:
        return Provide(lambda: value, sync_to_thread=False)

    v1 = Router(
        path="/",
        route_handlers=[Jobs, Videos, upload, ResumableUploads, UploadRecords, watch, keys_resource.ApiKeys, Webhooks],
    )
    app = Litestar(
        route_handlers=[v1, health.live, health.ready, pages.problem],
        dependencies={
            "database": given(database),
            "quick": given(quick),
            "store": given(store),
            "settings": given(settings),
            "listener": given(listener),
            "keys": given(keys),
            "uploads": given(Uploads(database, store, settings.upload)),
            "principal": Provide(_principal, sync_to_thread=False),
        },
        middleware=[Identification(keys)],
        guards=[guard],
        exception_handlers={Exception: handle},
        lifespan=[lifespan],
        state=State(),
        openapi_config=OpenAPIConfig(
            title="Automations",
            version="1",
            description="Understands video on your own machines: shots, key segments with reasons, tags over time.",
            openapi_router=Router("/docs", route_handlers=[], opt=OPEN["opt"], include_in_schema=False),
            components=Components(security_schemes={"key": SecurityScheme(type="http", scheme="bearer")}),
            security=[{"key": []}],
            use_handler_docstrings=True,
        ),
        plugins=[RecordSchema()],
        request_max_body_size=_MAX_BODY_BYTES,
        logging_config=None,
    )
    _require_declared(app)
    return app


def _principal(request: Request[Any, Any, Any]) -> Principal:
    """Who asks: the guard has let through only who is known."""
    return request.scope["principal"]  # type: ignore[typeddict-item]


def _require_declared(app: Litestar) -> None:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            public = isinstance(handler, HTTPRouteHandler) and handler.resolve_include_in_schema()
            if public and ("scope" not in handler.opt or not handler.operation_id):
                raise ValueError(f"{handler} says neither who may do it nor how it is called")
