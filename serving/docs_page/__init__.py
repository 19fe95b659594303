"""The documentation page: Swagger UI from the package that brings its files, our frame around it, no network.

The address of each file holds a digest of all of them, so that browsers may keep them for good.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Final

from serving.errors import NotFound

_HERE: Final = Path(__file__).parent

#: Name on the page -> where it is (the package of Swagger UI, or here), and its type.
_FILES: Final[dict[str, tuple[str, bool, str]]] = {
    "swagger-ui-bundle.js": ("swagger-ui-bundle.js", True, "text/javascript"),
    "swagger-ui.css": ("swagger-ui.css", True, "text/css"),
    "favicon.png": ("favicon-32x32.png", True, "image/png"),
    "start.js": ("start.js", False, "text/javascript"),
    "page.css": ("page.css", False, "text/css"),
}

#: Only from here, and neither script nor style in the page itself. Swagger UI has icons in `data:` addresses.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the page."""

    content: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class DocsPage:
    """The page and all that it loads."""

    html: str
    version: str
    """Changes with any of the files."""
    files: dict[str, PageFile]

    def file(self, version: str, name: str) -> PageFile:
        """One that it loads. Raises NotFound."""
        if version != self.version or name not in self.files:
            raise NotFound("the documentation page has no such file")
        return self.files[name]


@cache
def docs_page() -> DocsPage:
    """Read from disk by who asks first."""
    files = {
        name: PageFile(((_swagger_ui() if theirs else _HERE) / file).read_bytes(), media_type)
        for name, (file, theirs, media_type) in _FILES.items()
    }
    version = hashlib.sha256(b"".join(file.content for file in files.values())).hexdigest()[:16]
    frame = Template((_HERE / "page.html").read_text("utf-8"))
    return DocsPage(frame.substitute(files=f"/docs/files/{version}"), version, files)


def _swagger_ui() -> Path:
    """Where Swagger UI's files are. The package is not imported: it would import FastAPI, which is not used."""
    spec = find_spec("fastapi_swagger")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package fastapi-swagger, which holds Swagger UI, is not installed")
    return Path(spec.submodule_search_locations[0]) / "resources"
