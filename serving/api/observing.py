"""Sees how each request ends: counts it, and collects refusals for the audit log."""

import time
from typing import Final

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.peers import UNMATCHED, address_of, operation_of
from serving.audit.refusals import Refusal, Refusals
from serving.auth.principals import Principal
from serving.metrics.meters import Meters

#: Of requests whose client left before anything was answered.
_LEFT: Final = 499

#: Problems that are refusals, and are noted; others are mistakes.
_REFUSES: Final = frozenset(
    {
        "unauthenticated",
        "wrong_password",
        "forbidden",
        "not_found",
        "rate_limited",
        "address_refused",
        "quota_exceeded",
    }
)


class Observing:
    """ASGI: around everything else."""

    def __init__(self, app: ASGIApp, meters: Meters, refusals: Refusals) -> None:
        self._app, self._meters, self._refusals = app, meters, refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status, streaming = _LEFT, False

        async def observed(message: Message) -> None:
            nonlocal status, streaming
            if message["type"] == "http.response.start":
                status = message["status"]
                kind = next((value for name, value in message["headers"] if name.lower() == b"content-type"), b"")
                streaming = kind.startswith(b"text/event-stream")
                if streaming:
                    self._meters.streams.inc()
                    self._meters.took(operation_of(scope), time.perf_counter() - began)
            await send(message)

        self._meters.in_progress.inc()
        try:
            await self._app(scope, receive, observed)
        finally:
            self._meters.in_progress.dec()
            operation = operation_of(scope)
            self._meters.answered(operation, scope["method"], status)
            if streaming:
                self._meters.streams.dec()
            else:
                self._meters.took(operation, time.perf_counter() - began)
            code = str(scope.get("problem_code", ""))
            if code in _REFUSES and operation != UNMATCHED:
                self._refused(scope, operation, code)

    def _refused(self, scope: Scope, operation: str, code: str) -> None:
        principal: Principal | None = scope.get("principal")  # type: ignore[assignment]
        if code == "not_found" and (principal is None or not scope["path_params"]):
            # Only somebody's explicit id is worth knowing: whether they look for what is another's.
            return
        self._refusals.add(
            Refusal(
                operation=operation,
                code=code,
                address=address_of(scope),
                tenant_id=principal and principal.tenant_id,
                actor=principal and principal.actor,
                credential=principal and principal.credential,
            )
        )
