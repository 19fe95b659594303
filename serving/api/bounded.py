"""Refuses requests whose headers are too long, before anybody looks into them."""

from typing import Final

import msgspec
from litestar.types import ASGIApp, Receive, Scope, Send

from serving.api import problem
from serving.errors import HeadersTooLarge

#: Bytes of all headers, names and values, that are taken. Ours have less than a tenth.
MAX_HEADER_BYTES: Final = 64 << 10


class Bounded:
    """ASGI: inside of what gives answers their headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or _size_bytes(scope) <= MAX_HEADER_BYTES:
            await self._app(scope, receive, send)
            return
        error = HeadersTooLarge(f"the request's headers have more than {MAX_HEADER_BYTES} bytes")
        told = problem.problem_of(error, str(scope.get("request_id", "")))
        # The rest of the connection is not worth reading either.
        headers = [(b"content-type", problem.CONTENT_TYPE.encode()), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": told.status, "headers": headers})
        await send({"type": "http.response.body", "body": msgspec.json.encode(told), "more_body": False})


def _size_bytes(scope: Scope) -> int:
    return sum(len(name) + len(value) for name, value in scope["headers"])
