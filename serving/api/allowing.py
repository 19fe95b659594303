"""What `OPTIONS` says may be done at a path: all of it (RFC 9110, 9.3.7)."""

from collections.abc import Iterable, Mapping

from litestar.routes import BaseRoute, HTTPRoute

from serving.api.heading import Header


def methods_of(routes: Iterable[BaseRoute]) -> dict[str, bytes]:
    """Path, as the schema writes it -> methods, as the header `Allow` has them; of all routes of an app."""
    return {
        route.path_format: ", ".join(sorted(_methods(route))).encode()
        for route in routes
        if isinstance(route, HTTPRoute)
    }


def allowed(methods: Mapping[str, bytes], path: object, status: int, headers: list[Header]) -> list[Header]:
    """An answer to `OPTIONS` as it should be: the framework says what methods there were when it first heard of a path,
    without those that further handlers add."""
    said = methods.get(str(path))
    if said is None or status >= 300:
        return headers
    return [*(one for one in headers if one[0].lower() != b"allow"), (b"allow", said)]


def _methods(route: HTTPRoute) -> set[str]:
    """Those that are in the schema, where any is; what is left are ways round things that let no others through."""
    told = {method for handler in route.route_handlers if handler.include_in_schema for method in handler.http_methods}
    return {str(method) for method in told or route.methods} | {"OPTIONS"}
