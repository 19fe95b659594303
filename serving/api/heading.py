"""Headers that every answer has, whoever makes it: the request's id, what is left of its limit, and what keeps browsers
from doing more with it than is meant."""

from typing import Final

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from serving.ids import new_id

REQUEST_ID: Final = b"x-request-id"

#: Nobody guesses types, or is told by whom they were sent here.
_ALWAYS: Final = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))

#: What is told to somebody who is known is theirs alone.
_PRIVATE: Final = (b"cache-control", b"no-store")

#: The same, kept to be asked about again.
_VERSIONED: Final = (b"cache-control", b"private, no-cache")

#: Pages are in nobody's frame, and load nothing unless they say what.
_PAGE: Final = (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
_FRAMES: Final = (b"x-frame-options", b"DENY")


class Heading:
    """ASGI: gives each request its id, and each answer such headers as it has not got itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["request_id"] = request_id = new_id("req")  # type: ignore[typeddict-unknown-key]

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                there = {name.lower(): value for name, value in headers}
                wanted = [(REQUEST_ID, request_id.encode()), *_ALWAYS, *scope.get("limit_headers", ())]  # type: ignore[misc]
                if scope.get("principal") is not None:
                    wanted.append(_VERSIONED if b"etag" in there else _PRIVATE)
                if there.get(b"content-type", b"").startswith(b"text/html"):
                    wanted += [_PAGE, _FRAMES]
                message["headers"] = [*headers, *(one for one in wanted if one[0] not in there)]
            await send(message)

        await self._app(scope, receive, headed)
