"""What `OPTIONS` says may be done at a path: all of it (RFC 9110, 9.3.7)."""

from collections.abc import Iterable

from litestar.routes import BaseRoute, HTTPRoute
from litestar.types import ASGIApp, Message, Receive, Scope, Send


class Allowing:
    """ASGI: mends what the framework answers to `OPTIONS`: the methods that there were when it first heard of a path,
    without those that further handlers add."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        """`routes`: of the app, all of them."""
        self._app = app
        self._methods = {
            route.path_format: ", ".join(sorted(_methods(route))).encode()
            for route in routes
            if isinstance(route, HTTPRoute)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["method"] != "OPTIONS":
            await self._app(scope, receive, send)
            return

        async def allowed(message: Message) -> None:
            methods = self._methods.get(str(scope.get("path_template")))
            if message["type"] == "http.response.start" and methods is not None and message["status"] < 300:
                others = [one for one in message["headers"] if one[0].lower() != b"allow"]
                message["headers"] = [*others, (b"allow", methods)]
            await send(message)

        await self._app(scope, receive, allowed)


def _methods(route: HTTPRoute) -> set[str]:
    """Those that are in the schema, where any is; what is left are ways round things that let no others through."""
    told = {method for handler in route.route_handlers if handler.include_in_schema for method in handler.http_methods}
    return {str(method) for method in told or route.methods} | {"OPTIONS"}
