"""Which web pages may use the API from a browser (Fetch standard, "CORS protocol").

Not the framework's own: that takes every OPTIONS with an Origin for a preflight, so that clients of tus that ask what
is spoken here would hear nothing, and leaves `Vary` out where it matters to caches.
"""

from typing import Final

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.errors import InvalidSettings

#: Headers of requests that pages may set, besides those that they may always.
ALLOWED: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "Prefer",
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
    "Allow",
    "Content-Disposition",
    "ETag",
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
    """ASGI: answers preflights, and lets pages of these origins read what is answered. Never with cookies: whoever asks
    sends their key or token themselves."""

    def __init__(self, app: ASGIApp, origins: frozenset[str]) -> None:
        """`origins`: as `origins_of` gives them; with none, browsers keep all pages out."""
        self._app = app
        self._origins = frozenset(origin.encode() for origin in origins)
        # Also to those who may not, or who say none: what a cache keeps of it is not for the others.
        self._common: tuple[tuple[bytes, bytes], ...] = () if b"*" in self._origins else ((b"vary", b"Origin"),)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or not self._origins:
            await self._app(scope, receive, send)
            return
        asked = {name: value for name, value in scope["headers"] if name in (b"origin", _ASKS)}
        allowed = self._allowed(asked.get(b"origin"))
        headers: list[tuple[bytes, bytes]] = list(self._common)
        if allowed is not None:
            headers.append((_ALLOW, allowed))
        if scope["method"] == "OPTIONS" and _ASKS in asked:
            headers.extend(_PREFLIGHT if allowed is not None else ())
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        headers.extend((_EXPOSE,) if allowed is not None else ())

        async def shared(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        await self._app(scope, receive, shared)

    def _allowed(self, origin: bytes | None) -> bytes | None:
        if origin is None:
            return None
        if b"*" in self._origins:
            return b"*"
        return origin if origin in self._origins else None
