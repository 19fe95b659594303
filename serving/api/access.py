"""Who may do what: what each operation wants, and whether who asks has it.

Each route says `**needs("jobs:write")`, or `**OPEN`. With one that says neither, nothing starts (see `app`).
"""

from typing import Any, Final, Literal

from litestar import Request
from litestar.handlers import BaseRouteHandler
from litestar.openapi import ResponseSpec

from serving.api.problem import CONTENT_TYPE, Problem
from serving.auth.principals import Principal, Scope
from serving.errors import Forbidden, Unauthenticated

Needed = Scope | Literal["anybody", "a person"]
"""What an operation may want: a scope, or one of `ANYBODY` and `PERSON`."""


def _refusals(*statuses: int) -> dict[int, ResponseSpec]:
    # Of headers that are too long, any of them may be told.
    return {
        status: ResponseSpec(Problem, media_type=CONTENT_TYPE, generate_examples=False) for status in (*statuses, 431)
    }


#: For operations that need no key: signing in, health, the documentation.
OPEN: Final[dict[str, Any]] = {
    "opt": {"scope": None},
    "security": [{}],
    "responses": _refusals(400, 404, 429, 500, 503),
}

#: As `OPEN`, for operations that take a password or a refresh token in their body.
SIGNING_IN: Final[dict[str, Any]] = OPEN | {"responses": _refusals(400, 401, 404, 408, 413, 429, 500, 503)}

#: Instead of a scope, for operations about who asks: anybody who is known, and people alone, whatever they may do.
ANYBODY: Final = "anybody"
PERSON: Final = "a person"


def needs(scope: Needed, *further: int) -> dict[str, Any]:
    """What a route says that wants this, and the problems that it may answer with. `further`: statuses of others."""
    statuses = (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 503, *further)
    return {"opt": {"scope": scope}, "responses": _refusals(*statuses)}


def require(handler: BaseRouteHandler, method: str, principal: Principal | None) -> None:
    """Let through who may. A function of the middleware (`admission`) and no guard of the framework, which copies the
    handler for each request to ask its guards.

    Raises:
        Unauthenticated: no key or token, or none that is good.
        Forbidden: a good one, without the scope.
    """
    if "scope" not in handler.opt:
        # The framework's own answers to OPTIONS, which say what methods there are. Nothing else comes without a scope
        # (`app`); if it did, nobody would be let in.
        if method != "OPTIONS":
            raise Forbidden("nobody said who may do this")
        return
    scope = handler.opt["scope"]
    if scope is None:
        return
    if principal is None:
        raise Unauthenticated("send `Authorization: Bearer` with an API key or an access token that is still good")
    if scope == ANYBODY:
        return
    if scope == PERSON:
        if principal.session_id is None:
            raise Forbidden("this is for people who signed in, not for keys")
        return
    if scope not in principal.scopes:
        raise Forbidden(f"this needs the scope {scope}")


def principal_of(request: Request[Any, Any, Any]) -> Principal:
    """Who asks: only who is known gets as far as a handler that wants somebody."""
    return request.scope["principal"]  # type: ignore[typeddict-item]
