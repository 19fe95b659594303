"""Whom the server believes where requests come from."""

import ipaddress
from typing import Any

from pipeline.errors import InvalidSettings


def proxy_options(trusted: str) -> dict[str, Any]:
    """What uvicorn is told about the setting `server.trusted_proxies`. By itself it would believe everybody on this
    machine; here it believes nobody's `X-Forwarded-For` who is not named.

    Raises:
        InvalidSettings: somebody is named by something else than an address or a network.
    """
    named = [one.strip() for one in trusted.split(",") if one.strip()]
    for one in named:
        try:
            ipaddress.ip_network(one)
        except ValueError as error:
            raise InvalidSettings(f"server.trusted_proxies: {one!r} is no address and no network") from error
    return {"proxy_headers": bool(named), "forwarded_allow_ips": named}
