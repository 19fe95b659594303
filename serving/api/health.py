"""Whether the server lives, and whether it is ready."""

from typing import Annotated, Literal

from litestar import Response, get
from litestar.openapi import ResponseSpec
from litestar.params import Parameter

from pipeline.record import Record
from serving.api.access import OPEN
from serving.db.database import Database
from serving.errors import DatabaseUnavailable
from serving.storage.store import Store
from serving.workers import alive, missing

Part = Literal["all", "api"]


class Health(Record, frozen=True, kw_only=True):
    """How things are."""

    checks: dict[str, str]
    """Part -> `ok`, or what is wrong with it."""


_READY = OPEN | {
    "responses": OPEN["responses"]
    | {503: ResponseSpec(Health, description="Something is missing; says what", generate_examples=False)}
}


@get("/livez", operation_id="live", **OPEN, tags=["health"], summary="Whether the process answers")
async def live() -> Health:
    """Whether this process answers."""
    return Health(checks={"api": "ok"})


@get("/readyz", operation_id="ready", **_READY, tags=["health"], summary="Whether requests can be served")
async def ready(
    database: Database,
    store: Store,
    part: Annotated[
        Part,
        Parameter(
            description="`all`: whether jobs can be done. `api`: whether they and videos are taken, which is what a "
            "load balancer asks; workers may be away meanwhile"
        ),
    ] = "all",
) -> Response[Health]:
    """Whether the database, its schema and the store are there, and an engine that really computed something lately.
    503, with the same body, where one of them is not."""
    # Not worth its half second before somebody asks.
    from serving.db import migrate

    checks = {"database": "ok", "migrations": "ok", "store": "ok"}
    try:
        behind = await migrate.behind(database)
        if behind:
            checks["migrations"] = behind
        elif part == "all":
            checks["engine"] = missing(await alive(database)) or "ok"
    except DatabaseUnavailable as error:
        checks["database"] = str(error)
    try:
        await store.ready()
    except OSError as error:
        checks["store"] = str(error)
    good = all(said == "ok" for said in checks.values())
    return Response(Health(checks=checks), status_code=200 if good else 503)
