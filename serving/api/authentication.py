"""Finds out who asks, before anything else is done."""

from typing import Final

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.access import Principal
from serving.api.keys import PREFIX, Keys
from serving.ids import new_id

_REQUEST_ID: Final = b"x-request-id"


class Identification(ASGIMiddleware):
    """Gives each request an id, and its principal where it has one. Whether one is needed, `access.guard` says."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """See `ASGIMiddleware`."""
        request_id = new_id("req")
        scope["request_id"] = request_id  # type: ignore[typeddict-unknown-key]
        scope["principal"] = await self._principal(scope)  # type: ignore[typeddict-unknown-key]

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (_REQUEST_ID, request_id.encode())]
            await send(message)

        await next_app(scope, receive, named)

    async def _principal(self, scope: Scope) -> Principal | None:
        for name, value in scope["headers"]:
            if name == b"authorization":
                kind, _, credential = value.decode("latin-1").partition(" ")
                if kind.lower() != "bearer":
                    return None
                credential = credential.strip()
                return await self._keys.principal(credential) if credential.startswith(PREFIX) else None
        return None
