"""`/metrics`, for Prometheus."""

import hmac
from typing import Annotated, Any, Final

from litestar import MediaType, Request, Response, get
from litestar.openapi import ResponseSpec
from litestar.params import Parameter

from serving.api.access import OPEN
from serving.api.peers import address_of, is_loopback
from serving.api.problem import CONTENT_TYPE, Problem
from serving.errors import Forbidden
from serving.metrics.backlog import Backlog
from serving.metrics.meters import Meters
from serving.settings import Settings

#: Prometheus' text format; the framework adds the charset.
_FORMAT: Final = "text/plain; version=0.0.4"

_OPEN: Final[dict[str, Any]] = OPEN | {
    "responses": OPEN["responses"] | {403: ResponseSpec(Problem, media_type=CONTENT_TYPE, generate_examples=False)}
}


@get(
    "/metrics",
    operation_id="metrics",
    **_OPEN,
    tags=["health"],
    summary="What Prometheus is told",
    media_type=MediaType.TEXT,
)
async def metrics(
    request: Request[Any, Any, Any],
    settings: Settings,
    meters: Meters,
    backlog: Backlog,
    authorization: Annotated[str | None, Parameter(header="Authorization", required=False)] = None,
) -> Response[bytes]:
    """What this process counts, and what waits in the database. With the setting `server.metrics_key`, for those who
    send it as Bearer; without it, for this machine alone."""
    _require_reader(request, settings.server.metrics_key, authorization)
    # Not worth its time at the start.
    from prometheus_client import generate_latest

    await backlog.read()
    return Response(generate_latest(meters.registry), media_type=_FORMAT)


def _require_reader(request: Request[Any, Any, Any], key: str, authorization: str | None) -> None:
    if key:
        kind, _, shown = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(shown.strip().encode(), key.encode()):
            raise Forbidden("metrics are for those who send the server's `server.metrics_key` as Bearer")
        return
    forwarded = any(name == "forwarded" or name.startswith("x-forwarded-") for name in request.headers)
    if forwarded or not is_loopback(address_of(request.scope)):
        raise Forbidden(
            "metrics are for this machine alone; set `server.metrics_key` (AUTOMATIONS_SERVER__METRICS_KEY), and send "
            "it as Bearer, to read them from elsewhere"
        )
