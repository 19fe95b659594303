"""Whether the server lives, and whether it is ready."""

from litestar import Response, get

from pipeline.record import Record
from serving.api.access import OPEN
from serving.db.database import Database
from serving.errors import DatabaseUnavailable
from serving.storage.store import Store


class Health(Record, frozen=True, kw_only=True):
    """Part -> `ok`, or what is wrong with it."""

    checks: dict[str, str]


@get("/livez", operation_id="live", **OPEN, tags=["health"], summary="Whether the process answers")
async def live() -> Health:
    """Whether this process answers."""
    return Health(checks={"api": "ok"})


@get("/readyz", operation_id="ready", **OPEN, tags=["health"], summary="Whether requests can be served")
async def ready(database: Database, store: Store) -> Response[Health]:
    """Whether the database, its schema and the store are there. 503 where one of them is not."""
    # Not worth its half second before somebody asks.
    from serving.db import migrate

    checks = {"database": "ok", "migrations": "ok", "store": "ok"}
    try:
        behind = await migrate.behind(database)
        if behind:
            checks["migrations"] = behind
    except DatabaseUnavailable as error:
        checks["database"] = str(error)
    try:
        await store.ready()
    except OSError as error:
        checks["store"] = str(error)
    good = all(said == "ok" for said in checks.values())
    return Response(Health(checks=checks), status_code=200 if good else 503)
