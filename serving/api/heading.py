"""Headers that every answer has, whoever makes it: the request's id, what is left of its limit, and what keeps browsers
from doing more with it than is meant."""

from collections.abc import Iterable
from typing import Final

from litestar.types import Scope

Header = tuple[bytes, bytes]

REQUEST_ID: Final = b"x-request-id"

#: Nobody guesses types, or is told by whom they were sent here.
_ALWAYS: Final = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))

#: What is told to somebody who is known is theirs alone.
_PRIVATE: Final = (b"cache-control", b"no-store")

#: The same, kept to be asked about again.
_VERSIONED: Final = (b"cache-control", b"private, no-cache")

#: Pages are in nobody's frame, and load nothing unless they say what.
_PAGE: Final = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)
_FRAMES: Final = (b"x-frame-options", b"DENY")

#: What is no page is none either where a browser is made to show it.
_DATA: Final = (b"content-security-policy", b"default-src 'none'; base-uri 'none'; frame-ancestors 'none'")


def headed(scope: Scope, request_id: str, headers: Iterable[Header], there: dict[bytes, bytes]) -> list[Header]:
    """The headers of an answer, with those that it has not got itself. `there`: the same, by their names in small
    letters."""
    wanted: list[Header] = [(REQUEST_ID, request_id.encode()), *_ALWAYS, *scope.get("limit_headers", ())]  # type: ignore[misc]
    if scope.get("principal") is not None:
        wanted.append(_VERSIONED if b"etag" in there else _PRIVATE)
    kind = there.get(b"content-type", b"")
    if kind.startswith(b"text/html"):
        wanted += (_PAGE, _FRAMES)
    elif kind.startswith(b"application/"):
        wanted.append(_DATA)
    return [*headers, *[one for one in wanted if one[0] not in there]]
