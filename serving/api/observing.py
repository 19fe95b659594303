"""Sees how each request ends: counts it, and collects refusals for the audit log."""

from typing import Final

from litestar.types import HTTPScope

from serving.api.peers import UNMATCHED, address_of, operation_of
from serving.audit.refusals import Refusal, Refusals
from serving.auth.principals import Principal
from serving.metrics.meters import Meters, Streamed

#: Of requests whose client left before anything was answered.
LEFT: Final = 499

#: Problems that are refusals, and are noted; others are mistakes.
_REFUSES: Final = frozenset(
    {
        "unauthenticated",
        "wrong_password",
        "forbidden",
        "sign_in_again",
        "url_refused",
        "not_found",
        "rate_limited",
        "address_refused",
        "quota_exceeded",
    }
)


def streamed(headers: dict[bytes, bytes], method: str) -> Streamed | None:
    """What an answer with these headers, by their names in small letters, is a stream of; None where it is none."""
    if headers.get(b"content-type", b"").startswith(b"text/event-stream"):
        return "events"
    return "media" if b"accept-ranges" in headers and method == "GET" else None


class Observing:
    """What is counted and collected of requests."""

    def __init__(self, meters: Meters, refusals: Refusals) -> None:
        self._meters, self._refusals = meters, refusals

    def begun(self) -> None:
        """One comes in."""
        self._meters.in_progress += 1

    def streams(self, scope: HTTPScope, kind: Streamed, took_s: float) -> None:
        """One is answered by a stream from now on."""
        self._meters.streams[kind] += 1
        self._meters.took(operation_of(scope), took_s)

    def ended(self, scope: HTTPScope, status: int, streamed: Streamed | None, took_s: float) -> None:
        """One is over, however that came."""
        operation = operation_of(scope)
        self._meters.in_progress -= 1
        self._meters.answered(operation, scope["method"], status)
        if streamed is not None:
            self._meters.streams[streamed] -= 1
        else:
            self._meters.took(operation, took_s)
        code = str(scope.get("problem_code", ""))
        if code in _REFUSES and operation != UNMATCHED:
            self._refused(scope, operation, code)

    def _refused(self, scope: HTTPScope, operation: str, code: str) -> None:
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
