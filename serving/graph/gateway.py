"""A replica of `gateway`: what the API asks of the graph, over HTTP. No other deployment is reached from outside.

It passes bytes on and computes nothing. Who asks has to show a key: its port can be reached by every user of the
machine and, where the API is elsewhere, by others in its network; and pages in a browser can send requests there.
"""

import hmac
from typing import TYPE_CHECKING

from serving.graph.client import EMBED, HEADER, MESSAGE
from serving.graph.keys import GATEWAY, derived
from serving.places import server_secret
from serving.settings import load

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle
    from starlette.requests import Request
    from starlette.responses import Response


class Gateway:
    """The deployment `gateway`."""

    def __init__(self, text: "DeploymentHandle", *others: object) -> None:
        """`others`: the other deployments of the application, which it does not ask."""
        self._text = text
        settings = load().settings
        self._key = settings.graph.key or derived(server_secret(settings), GATEWAY)

    async def __call__(self, request: "Request") -> "Response":
        """`POST /embed`: `messages.EmbedTexts` -> `messages.Embedded` or `messages.Refused`."""
        from starlette.responses import PlainTextResponse, Response

        if not hmac.compare_digest(request.headers.get(HEADER, "").encode(), self._key.encode()):
            return PlainTextResponse("who asks has to show the server's key", 403)
        if request.method != "POST" or request.url.path != EMBED:
            return PlainTextResponse("there is nothing here", 404)
        body = await request.body()
        return Response(await self._text.embed.remote(body), media_type=MESSAGE)
