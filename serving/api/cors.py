"""Which web pages may use the API from a browser (Fetch standard, "CORS protocol").

Not the framework's own: that takes every OPTIONS with an Origin for a preflight, so that clients of tus that ask what
is spoken here would hear nothing, and leaves `Vary` out where it matters to caches.
"""

from typing import Final

from litestar.types import HTTPScope

from pipeline.errors import InvalidSettings
from serving.api.heading import Header

#: Headers of requests that pages may set, besides those that they may always.
ALLOWED: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Prefer",
    "Range",
    "Tus-Resumable",
    "Upload-Checksum",
    "Upload-Defer-Length",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "X-HTTP-Method-Override",
    "X-Requested-With",
)

#: Headers of answers that pages may read, besides those that they may always.
EXPOSED: Final = (
    "Accept-Ranges",
    "Allow",
    "Content-Disposition",
    "Content-Length",
    "Content-Range",
    "ETag",
    "Frame-Time",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Tus-Checksum-Algorithm",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Resumable",
    "Tus-Version",
    "Upload-Defer-Length",
    "Upload-Expires",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "WWW-Authenticate",
    "X-Request-Id",
)

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

#: For how long a browser may remember a preflight, seconds: as long as any does.
_REMEMBER_S: Final = 7200

_PREFLIGHT: Final = (
    (b"access-control-allow-methods", ", ".join(METHODS).encode()),
    (b"access-control-allow-headers", ", ".join(ALLOWED).encode()),
    (b"access-control-max-age", str(_REMEMBER_S).encode()),
)
_EXPOSE: Final = (b"access-control-expose-headers", ", ".join(EXPOSED).encode())
_ALLOW: Final = b"access-control-allow-origin"
_ASKS: Final = b"access-control-request-method"


def origins_of(setting: str) -> frozenset[str]:
    """Origins as the setting `server.cors_origins` has them.

    Raises:
        InvalidSettings: one is no origin, which is a scheme, a host and perhaps a port, in small letters.
    """
    origins = frozenset(origin.strip() for origin in setting.split(",") if origin.strip())
    for origin in origins - {"*"}:
        scheme, separator, host = origin.partition("://")
        if not separator or scheme not in ("http", "https") or not host or "/" in host or host != host.lower():
            raise InvalidSettings(f"server.cors_origins: {origin!r} is no origin such as https://app.example.com")
    return origins


class Cors:
    """Which pages may ask, and what their browsers are told. Never with cookies: whoever asks sends their key or token
    themselves."""

    def __init__(self, origins: frozenset[str]) -> None:
        """`origins`: as `origins_of` gives them; with none, browsers keep all pages out."""
        self._origins = frozenset(origin.encode() for origin in origins)
        # Also to those who may not, or who say none: what a cache keeps of it is not for the others. Where all may, all
        # are told: a browser that has an answer from an <img> takes it for a script's, too.
        self._all = b"*" in self._origins
        self._common: tuple[Header, ...] = () if self._all else ((b"vary", b"Origin"),)

    def __bool__(self) -> bool:
        """Whether any page may ask."""
        return bool(self._origins)

    def preflight(self, scope: HTTPScope) -> list[Header] | None:
        """What a browser is told that asks whether it may ask; None of other requests."""
        if scope["method"] != "OPTIONS" or all(name != _ASKS for name, _ in scope["headers"]):
            return None
        allowed = self._allowed(scope)
        return [*self._common, *(((_ALLOW, allowed), *_PREFLIGHT) if allowed is not None else ())]

    def headers(self, scope: HTTPScope) -> list[Header]:
        """What all other answers say besides."""
        allowed = self._allowed(scope)
        return [*self._common, *(((_ALLOW, allowed), _EXPOSE) if allowed is not None else ())]

    def _allowed(self, scope: HTTPScope) -> bytes | None:
        if self._all:
            return b"*"
        origin = next((value for name, value in scope["headers"] if name == b"origin"), None)
        return origin if origin in self._origins else None
