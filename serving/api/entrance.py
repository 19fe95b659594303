"""Where requests come in that lead somewhere: who asks is found out, let in or not, and known from here on."""

from collections.abc import Mapping
from functools import partial

from litestar.types import ASGIApp, Receive, Scope, Send

from serving.api.admission import Admission, is_limited
from serving.api.authentication import identified
from serving.api.peers import address_of, operation_of
from serving.api.signed import SignedUrls
from serving.audit.acting import ACTING, Acting
from serving.auth.credentials import Credentials
from serving.errors import UrlRefused
from serving.ids import is_id


def named(path: Mapping[str, object]) -> tuple[str, ...]:
    """Ids among the parameters of a path. Others are what somebody made up: names of files, for example."""
    return tuple(str(value) for name, value in path.items() if name.endswith("_id") or is_id(str(value)))


class Entrance:
    """Middleware, before anything of a request's body is read."""

    def __init__(self, credentials: Credentials, urls: SignedUrls, admission: Admission) -> None:
        self._credentials, self._urls, self._admission = credentials, urls, admission

    def __call__(self, app: ASGIApp) -> ASGIApp:
        """Around the rest of what there is for a route."""
        return partial(self._enter, app)

    async def _enter(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI. Raises as `Admission.admit` and `SignedUrls.principal`."""
        operation, address = operation_of(scope), address_of(scope)
        limited = is_limited(scope, operation)
        principal = None
        if limited:
            before_asking = partial(self._admission.refuse_early, scope)
            try:
                principal = await identified(self._credentials, self._urls, scope, before_asking)
            except UrlRefused:
                await self._admission.take_of_stranger(scope)
                raise
        scope["principal"] = principal  # type: ignore[typeddict-unknown-key]
        await self._admission.admit(scope, principal, limited)
        acting = ACTING.set(
            Acting(
                operation,
                str(scope.get("request_id", "")),
                address,
                principal and principal.tenant_id,
                principal and principal.actor,
                principal and principal.credential,
                named(scope["path_params"]),
            )
        )
        try:
            await app(scope, receive, send)
        finally:
            ACTING.reset(acting)
