"""Whether the server lives, and whether it is ready."""

from typing import Annotated, Any, Literal

from litestar import Request, Response, get
from litestar.openapi import ResponseSpec
from litestar.params import Parameter

from pipeline.record import Record
from serving.api.access import OPEN
from serving.api.operators import is_operator
from serving.checking import ENGINE, OK, Checks
from serving.settings import Settings

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
    request: Request[Any, Any, Any],
    settings: Settings,
    checks: Checks,
    part: Annotated[
        Part,
        Parameter(
            description="`all`: whether jobs can be done. `api`: whether they and videos are taken, which is what a "
            "load balancer asks; workers may be away meanwhile"
        ),
    ] = "all",
) -> Response[Health]:
    """Whether the database, its schema and the store are there, and an engine that really computed something lately.
    503, with the same body, where one of them is not. What is wrong with it in detail is told to who may read
    `/metrics`, and is in the server's log."""
    found = await checks.found()
    parts = dict(found.parts) if is_operator(request.scope, settings.server.metrics_key) else found.told()
    if part == "api":
        parts.pop(ENGINE, None)
    good = all(said == OK for said in parts.values())
    return Response(Health(checks=parts), status_code=200 if good else 503)
