"""Finds out who asks."""

from collections.abc import Callable
from urllib.parse import parse_qs

from litestar.types import Scope

from serving.api.signed import SignedUrls
from serving.auth.credentials import Credentials
from serving.auth.principals import Principal


async def identified(
    credentials: Credentials, urls: SignedUrls, scope: Scope, before_asking: Callable[[], None]
) -> Principal | None:
    """The principal of a request, where it has one. Whether one is needed, `access.require` says.

    `before_asking`: see `Credentials.principal`. Raises what it raises, and as `SignedUrls.principal`.
    """
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, credential = value.decode("latin-1").partition(" ")
            if kind.lower() != "bearer":
                return None
            return await credentials.principal(credential.strip(), before_asking)
    # Nothing else is ever taken from a URL, which is logged and remembered: tickets are soon worth nothing, and
    # signed URLs are good for what is at their own path.
    if scope["route_handler"].opt.get("by_ticket"):
        shown = parse_qs(scope["query_string"].decode("latin-1")).get("ticket", [])
        if len(shown) == 1:
            return await credentials.ticket(shown[0], str(scope["path_params"]["job_id"]))
    return await urls.principal(scope, before_asking)
