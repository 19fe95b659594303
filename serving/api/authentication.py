"""Finds out who asks, before anything else is done."""

from urllib.parse import parse_qs

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from serving.api.admission import Admission, is_limited
from serving.auth.credentials import Credentials
from serving.auth.principals import Principal


class Identification(ASGIMiddleware):
    """Gives each request its principal, where it has one. Whether one is needed, `access.require` says."""

    def __init__(self, credentials: Credentials, admission: Admission) -> None:
        self._credentials, self._admission = credentials, admission

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """See `ASGIMiddleware`. Raises RateLimited: see `Admission.refuse_early`."""
        scope["principal"] = await self._principal(scope) if is_limited(scope) else None  # type: ignore[typeddict-unknown-key]
        await next_app(scope, receive, send)

    async def _principal(self, scope: Scope) -> Principal | None:
        for name, value in scope["headers"]:
            if name == b"authorization":
                kind, _, credential = value.decode("latin-1").partition(" ")
                if kind.lower() != "bearer":
                    return None
                return await self._credentials.principal(
                    credential.strip(), lambda: self._admission.refuse_early(scope)
                )
        # Nothing else is ever taken from a URL, which is logged and remembered: a ticket is soon worth nothing.
        if scope["route_handler"].opt.get("by_ticket"):
            shown = parse_qs(scope["query_string"].decode("latin-1")).get("ticket", [])
            if len(shown) == 1:
                return await self._credentials.ticket(shown[0], str(scope["path_params"]["job_id"]))
        return None
