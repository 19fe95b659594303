"""Who runs the server, as far as requests can tell: what goes on inside is for them alone."""

import hmac

from litestar.types import Scope

from serving.api.peers import address_of, is_loopback


def is_operator(scope: Scope, key: str) -> bool:
    """Whether it is whoever runs the server.

    Args:
        key: the setting `server.metrics_key`: who sends it as Bearer is. Without it, who asks from this machine is, but
            not through a proxy.
    """
    headers = scope["headers"]
    if key:
        shown = next((value for name, value in headers if name == b"authorization"), b"")
        kind, _, credential = shown.partition(b" ")
        return kind.lower() == b"bearer" and hmac.compare_digest(credential.strip(), key.encode())
    forwarded = any(name == b"forwarded" or name.startswith(b"x-forwarded-") for name, _ in headers)
    return not forwarded and is_loopback(address_of(scope))
