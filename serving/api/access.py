"""Who may do what: scopes, the roles that people have, and the guard of every operation.

Each route says `**needs("jobs:write")`, or `**OPEN`. With one that says neither, nothing starts (see `app`).
"""

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.openapi import ResponseSpec

from serving.api.problem import CONTENT_TYPE, Problem
from serving.errors import Forbidden, Unauthenticated

Scope = Literal[
    "videos:read",
    "videos:write",
    "jobs:read",
    "jobs:write",
    "vocabularies:write",
    "webhooks:manage",
    "keys:manage",
    "users:manage",
    "audit:read",
]
Role = Literal["viewer", "editor", "admin"]

SCOPES: Final = frozenset(get_args(Scope))

#: What a person with a role may do; keys have scopes of their own.
ROLES: Final[dict[str, frozenset[str]]] = {
    "viewer": frozenset({"videos:read", "jobs:read"}),
    "editor": frozenset({"videos:read", "videos:write", "jobs:read", "jobs:write", "vocabularies:write"}),
    "admin": SCOPES,
}


def _refusals(*statuses: int) -> dict[int, ResponseSpec]:
    return {status: ResponseSpec(Problem, media_type=CONTENT_TYPE, generate_examples=False) for status in statuses}


#: For operations that need no key: signing in, health, the documentation.
OPEN: Final[dict[str, Any]] = {"opt": {"scope": None}, "responses": _refusals(400, 404, 500, 503)}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks."""

    tenant_id: str
    actor: str
    """Id of a key or user."""
    scopes: frozenset[str]


def needs(scope: Scope) -> dict[str, Any]:
    """What a route says that wants this scope, and the problems that it may answer with."""
    return {"opt": {"scope": scope}, "responses": _refusals(400, 401, 403, 404, 409, 413, 422, 429, 500, 503)}


def guard(connection: ASGIConnection, handler: BaseRouteHandler) -> None:
    """Let through who may.

    Raises:
        Unauthenticated: no key or token, or none that is good.
        Forbidden: a good one, without the scope.
    """
    if "scope" not in handler.opt:
        # The framework's own answers to OPTIONS, which say what methods there are. Nothing else comes without a scope
        # (`app`); if it did, nobody would be let in.
        if connection.scope["method"] != "OPTIONS":  # type: ignore[typeddict-item]
            raise Forbidden("nobody said who may do this")
        return
    scope = handler.opt["scope"]
    if scope is None:
        return
    principal: Principal | None = connection.scope.get("principal")  # type: ignore[assignment]
    if principal is None:
        raise Unauthenticated("send `Authorization: Bearer` with an API key or an access token that is still good")
    if scope not in principal.scopes:
        raise Forbidden(f"this needs the scope {scope}")
