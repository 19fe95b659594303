"""Where a request comes from, and what is asked for, as limits, audit and metrics name them."""

import ipaddress
from typing import Final

from litestar.types import Scope

#: Who connects through a Unix socket has no address.
_LOCAL: Final = "local"

#: Bits of an IPv6 address that its owner does not choose: providers give out at least as much to one customer.
_OWNED_BITS: Final = 64

#: Operation of requests that lead nowhere, and of the framework's own answers to OPTIONS.
UNMATCHED: Final = "unmatched"


def address_of(scope: Scope) -> str:
    """The peer of the connection. What headers say of it counts only where the server was told to trust the peer: then
    it has been put here before (`server.trusted_proxies`)."""
    client = scope.get("client")
    return client[0] if client else _LOCAL


def network_of(address: str) -> str:
    """What addresses of one owner have in common."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _OWNED_BITS), strict=False))


def is_loopback(address: str) -> bool:
    """Whether it is this machine."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address == _LOCAL
    return parsed.is_loopback or bool(getattr(parsed, "ipv4_mapped", None) and parsed.ipv4_mapped.is_loopback)  # type: ignore[union-attr]


def operation_of(scope: Scope) -> str:
    """Id of the operation that is asked for. Never a path: those hold ids."""
    handler = scope.get("route_handler")
    name = getattr(handler, "operation_id", None)
    return name if isinstance(name, str) else UNMATCHED
