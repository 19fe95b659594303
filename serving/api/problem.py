"""Errors as RFC 9457 tells them: one shape for all of them, on every operation."""

import logging
import math
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from pipeline.errors import InvalidSpec, VideoError
from pipeline.record import Record
from serving.api.peers import operation_of
from serving.errors import (
    Busy,
    InvalidRequest,
    MasterKeyUnavailable,
    RangeRefused,
    RateLimited,
    ServerError,
)
from serving.problems import for_callers, kind_of

_LOG = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"

#: Codes of what the framework itself refuses.
_BY_STATUS = {
    400: "invalid_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
}


class Pointer(Record, frozen=True, kw_only=True):
    """One thing that is wrong with a request."""

    pointer: str
    """JSON pointer into the body, or `?name` of a parameter."""
    detail: str


class Problem(Record, frozen=True, kw_only=True):
    """What went wrong, for a program and for a person."""

    type: str
    """A page about this kind of problem, relative to the server."""
    title: str
    status: int
    code: str
    """The same kind, as one word for programs."""
    detail: str
    errors: tuple[Pointer, ...] = ()
    retryable: bool = False
    """Whether the same request may succeed later."""
    request_id: str = ""


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """The answer to an error that a handler raised."""
    request_id = str(request.scope["request_id"])  # type: ignore[typeddict-item]
    problem = problem_of(error, request_id)
    # For the audit log, which knows refusals by it.
    request.scope["problem_code"] = problem.code  # type: ignore[typeddict-unknown-key]
    if problem.status >= 500:
        # What somebody sent is in the log as ASCII, so that it can look like nothing else there.
        where = f"{operation_of(request.scope)} {request.scope['path']!a}"
        if problem.status == 503 and isinstance(error, VideoError | Busy | MasterKeyUnavailable):
            # Of the graph or a KMS, which is away now and then, or because much is asked for.
            _LOG.warning("%s %s: %s [%s]: %s", request.scope["method"], where, problem.code, request_id, error)
        else:
            _LOG.error("%s %s: %s [%s]", request.scope["method"], where, problem.code, request_id, exc_info=error)
    headers = {}
    if isinstance(error, RateLimited | Busy):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    elif isinstance(error, RangeRefused):
        headers["Content-Range"] = f"bytes */{error.size_bytes}"
    elif problem.status == 503:
        headers["Retry-After"] = "5"
    elif problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    elif problem.status == 408:
        # Nobody waits for what may still come of it.
        headers["Connection"] = "close"
    if isinstance(error, HTTPException):
        headers |= {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    return Response(problem, status_code=problem.status, media_type=CONTENT_TYPE, headers=headers)


def problem_of(error: Exception, request_id: str = "") -> Problem:
    """An error as a problem. Of a fault of ours, nothing but that it was one is told."""
    errors: tuple[Pointer, ...] = ()
    retryable = False
    if isinstance(error, VideoError | ServerError):
        code, detail, retryable = error.code, for_callers(error), error.retryable
        if isinstance(error, InvalidRequest):
            errors = tuple(Pointer(pointer=pointer, detail=what) for pointer, what in error.errors)
        elif isinstance(error, InvalidSpec) and error.pointer:
            errors = (Pointer(pointer=error.pointer, detail=detail),)
    elif isinstance(error, ValidationException):
        code, detail = "invalid_request", "the request is not valid"
        errors = _pointers(error)
    elif isinstance(error, HTTPException) and error.status_code in _BY_STATUS:
        code, detail = _BY_STATUS[error.status_code], str(error.detail)
    elif isinstance(error, HTTPException) and error.status_code < 500:
        code, detail = "invalid_request", str(error.detail)
    else:
        code, detail = "internal_error", "a fault of the server; its log has more under this request id"
    kind = kind_of(code)
    return Problem(
        type=f"/problems/{code}",
        title=kind.title,
        status=kind.status,
        code=code,
        detail=detail,
        errors=errors,
        retryable=retryable,
        request_id=request_id,
    )


def _pointers(error: ValidationException) -> tuple[Pointer, ...]:
    found = []
    for one in error.extra or () if isinstance(error.extra, list) else ():
        key, source = str(one.get("key", "")), str(one.get("source", "body"))
        message = str(one.get("message", ""))
        if key == "data":
            # What handlers call the body.
            key, message = "", "the body is missing" if message == "'data'" else message
        # msgspec writes `labels[0].name`, and `[...]` for a key of which it does not say which.
        place = key.partition("[...]")[0].replace("[", ".").replace("]", "")
        pointer = "/" + place.replace(".", "/") if source == "body" else f"?{key}"
        found.append(Pointer(pointer=pointer if key else "", detail=message))
    return tuple(found)
