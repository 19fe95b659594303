"""The documentation page and its files; the schema itself is at `/docs/openapi.json`."""

from typing import Any, Final

from litestar import MediaType, Request, Response, Router, get
from litestar.datastructures import ResponseHeader
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.response import Redirect

from serving.api.access import OPEN
from serving.docs_page import POLICY, docs_page

_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class _Page(OpenAPIRenderPlugin):
    """The page itself."""

    def __init__(self) -> None:
        super().__init__(path="/", media_type=MediaType.HTML)

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """See `OpenAPIRenderPlugin`."""
        return docs_page().html.encode()


class _Document(JsonRenderPlugin):
    """The schema, written once: anybody may ask for it, as often as they like."""

    def __init__(self) -> None:
        super().__init__()
        self._written: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """See `OpenAPIRenderPlugin`."""
        if self._written is None:
            self._written = super().render(request, openapi_schema)
        return self._written


def renderers() -> tuple[OpenAPIRenderPlugin, ...]:
    """What answers under `/docs`, of one app. No YAML: writing that takes the event loop a second each time."""
    return _Page(), _Document()


@get("/files/{version:str}/{name:str}", opt=OPEN["opt"], sync_to_thread=True)
def _file(version: str, name: str) -> Response[bytes]:
    """A file that the page loads; under this address it never changes."""
    found = docs_page().file(version, name)
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(found.content, media_type=found.media_type, headers=headers)


@get("/", opt=OPEN["opt"], include_in_schema=False, sync_to_thread=False)
def start() -> Redirect:
    """From the server's address to its documentation."""
    return Redirect("/docs", status_code=302)


@get("/favicon.ico", opt=OPEN["opt"], include_in_schema=False, sync_to_thread=True)
def favicon() -> Response[bytes]:
    """What browsers ask every server for."""
    icon = docs_page().files["favicon.png"]
    return Response(icon.content, media_type=icon.media_type, headers={"Cache-Control": "max-age=86400"})


def docs_router() -> Router:
    """`/docs`, for the framework to add its own to."""
    headers = [ResponseHeader(name=name, value=value) for name, value in _HEADERS.items()]
    return Router("/docs", route_handlers=[_file], response_headers=headers, opt=OPEN["opt"], include_in_schema=False)
