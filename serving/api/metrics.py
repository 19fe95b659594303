"""`/metrics`, for Prometheus."""

from typing import Any, Final

from litestar import MediaType, Request, Response, get
from litestar.openapi import ResponseSpec

from serving.api.access import OPEN
from serving.api.admission import Admission
from serving.api.operators import is_operator
from serving.api.problem import CONTENT_TYPE, Problem
from serving.errors import Forbidden
from serving.metrics.backlog import Backlog
from serving.metrics.meters import Meters
from serving.settings import Settings

#: Prometheus' text format; the framework adds the charset.
_FORMAT: Final = "text/plain; version=0.0.4"

_WITH_KEY: Final = "metrics are for those who send the server's `server.metrics_key` as Bearer"
_FROM_HERE: Final = (
    "metrics are for this machine alone; set `server.metrics_key` (AUTOMATIONS_SERVER__METRICS_KEY), and send it as "
    "Bearer, to read them from elsewhere"
)

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
    admission: Admission,
) -> Response[bytes]:
    """What this process counts, and what waits in the database. With the setting `server.metrics_key`, for those who
    send it as Bearer; without it, for this machine alone."""
    key = settings.server.metrics_key
    if not is_operator(request.scope, key):
        # Whoever may not is a stranger like others, and does not guess for nothing.
        await admission.take_of_stranger(request.scope)
        raise Forbidden(_WITH_KEY if key else _FROM_HERE)
    # Not worth its time at the start.
    from prometheus_client import generate_latest

    await backlog.read()
    return Response(generate_latest(meters.registry), media_type=_FORMAT)
