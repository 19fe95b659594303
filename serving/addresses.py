"""Which addresses are of the public Internet, and which URLs this server may be asked to go to.

An address is what the operating system's resolver makes of it: `0x7f.1`, `2130706433` and `127.1` are 127.0.0.1 to it.
"""

import re
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from serving.errors import AddressRefused

if TYPE_CHECKING:
    import httpx

Address = IPv4Address | IPv6Address

#: A URL longer than this is nobody's.
MAX_URL_CHARS: Final = 2048

#: Not of the public Internet, after IANA's registry of special purposes; newer than what Python knows of it, and the
#: same with every version of Python.
_REFUSED_4: Final = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' own; a cloud keeps its metadata in it
        "127.0.0.0/8",
        "168.63.129.16/32",  # looks public, is inside every machine of a cloud
        "169.254.0.0/16",  # link-local, and metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)

#: All of IPv6 that is given out to somebody, and what is something else within it. Mapped, compatible, translated,
#: unique local, link-local and multicast addresses are outside.
_PUBLIC_6: Final = ip_network("2000::/3")
_REFUSED_6: Final = tuple(
    ip_network(text)
    for text in (
        "2001::/23",  # Teredo, ORCHID and other protocols' own
        "2001:db8::/32",
        "2002::/16",  # 6to4: wraps any IPv4 address
        "3fff::/20",
    )
)

#: Networks without IPv4 reach it through these addresses, which a resolver makes up from the IPv4 ones.
_NAT64: Final = ip_network("64:ff9b::/96")

#: Besides 80 and 443, ports below 1024 belong to other protocols (mail, shells, files), and so do these. A server that
#: sent them lines of a stranger's choice could be made to speak those protocols.
_FOREIGN_PORTS: Final = frozenset(
    (
        *(1719, 1720, 1723, 2049, 3306, 3659, 4045, 4190, 5060, 5061, 5432, 6000, 6379, 6566),
        *(6665, 6666, 6667, 6668, 6669, 6679, 6697, 10_080, 11_211, 27_017),
    )
)

_NAME: Final = re.compile(r"[a-z0-9_-]([a-z0-9_.-]*[a-z0-9_.-])?", re.IGNORECASE)
_HERE: Final = re.compile(r"(.+\.)?(localhost|localdomain|local|internal)\.?")


def public(address: Address) -> bool:
    """Whether an address is one of the public Internet, of one machine."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_4)
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _PUBLIC_6 and not any(address in network for network in _REFUSED_6)


def checked(url: str, allowed: frozenset[str] = frozenset()) -> "httpx.URL":
    """A URL that may be asked for, as far as can be told without looking its name up.

    Args:
        allowed: networks that are let through besides, as `127.0.0.0/8`.

    Raises:
        AddressRefused: it may not.
    """
    # With it comes a terminal's worth of modules, which the API starts without.
    import httpx

    if len(url) > MAX_URL_CHARS:
        raise AddressRefused(f"the URL is longer than {MAX_URL_CHARS} characters")
    if re.search(r"[\s\\\x00-\x1f\x7f]", url):
        raise AddressRefused("the URL has spaces, control characters or backslashes in it; encode them")
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise AddressRefused("the URL cannot be read") from error
    if parsed.scheme not in ("http", "https"):
        raise AddressRefused("the URL has to begin with https:// or http://")
    if "@" in re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]:
        raise AddressRefused("the URL must not hold a user or a password")
    port = port_of(parsed)
    if not (port in (80, 443) or 1024 <= port <= 65_535) or port in _FOREIGN_PORTS:
        raise AddressRefused(f"port {port} is not one of HTTP: use 80, 443, or one from 1024 on of no other protocol")
    host = parsed.raw_host.decode("ascii")
    # With the dot that ends a full name, too: resolvers differ in what they make of it.
    literal = _literal(host.rstrip("."))
    if literal is not None:
        require_public([literal], allowed)
    elif not _NAME.fullmatch(host) or (_HERE.fullmatch(host.lower()) and not allowed):
        raise AddressRefused("the host of the URL is not one of the public Internet")
    return parsed


def port_of(url: "httpx.URL") -> int:
    """The port that a URL leads to."""
    return url.port if url.port is not None else {"http": 80, "https": 443}[url.scheme]


def _literal(host: str) -> Address | None:
    """The address that a host is in itself, whatever the form; None of a name."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    return ip_address(found[0][4][0])


def require_public(addresses: Iterable[Address], allowed: frozenset[str]) -> None:
    """All of them are public, or in a network that is let through besides.

    Raises:
        AddressRefused: one is not.
    """
    for address in addresses:
        if not public(address) and not any(address in ip_network(network) for network in allowed):
            # Which one it is stays untold: names inside this network would be told to those outside it.
            raise AddressRefused("the URL leads to an address that is not one of the public Internet")
