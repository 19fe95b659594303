"""Requests are taken at their word: `"5"` is no number, `null` is no state, and a parameter is said once.

The framework would make something of each of these, so that what a caller got wrong is answered as if they had got it
right. Texts that come in a query can hardly be but texts; here is what they have to look like.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from datetime import datetime
from functools import cache
from types import NoneType
from typing import Any, Final, get_args
from urllib.parse import parse_qsl

import msgspec
from litestar import Request
from litestar.exceptions import ClientException, ValidationException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.params import ParameterKwarg
from litestar.typing import FieldDefinition

from serving.errors import ClientGone, InvalidRequest, RequestTimeout
from serving.uploads.names import CONTROL

#: For how long a client may send nothing in the middle of a body before it counts as gone, seconds; and how long all of
#: a body may take that is read as one: all but videos.
STALLED_S: Final = 60.0
BODY_S: Final = 30.0

#: What a value of a type looks like, and what is said of one that does not.
_LOOKS: Final[Mapping[Any, tuple[re.Pattern[str], str]]] = {
    int: (re.compile(r"-?[0-9]{1,19}"), "has to be a whole number"),
    float: (re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"), "has to be a number"),
    datetime: (re.compile(r"[0-9]{4}-.+"), "has to be a time, as in 2026-11-25T21:09:30Z"),
}

#: Of all other types but texts: they are lists of words, of which none is this.
_NOT_NULL: Final = (re.compile(r"(?!null$).*", re.IGNORECASE | re.DOTALL), "null is none of its values")

#: Where msgspec says that something is.
_PLACE: Final = re.compile(r" - at `\$\.?(.*)`$")


class StrictRequest(Request[Any, Any, Any]):
    """Reads a body as what the handler takes, without guessing what was meant, and without waiting for ever."""

    async def body(self) -> bytes:
        """See `Request.body`.

        Raises:
            RequestTimeout: it has not come in time.
            ClientGone: it will not come.
        """
        try:
            async with asyncio.timeout(BODY_S):
                return await super().body()
        except TimeoutError as error:
            raise RequestTimeout(f"the body took longer than {BODY_S:g} s") from error

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """See `Request.stream`.

        Raises:
            RequestTimeout: nothing came for too long.
            ClientGone: nothing will come.
        """
        receive = self.receive

        async def patient() -> Any:
            try:
                message = await asyncio.wait_for(receive(), STALLED_S)
            except TimeoutError as error:
                raise RequestTimeout(f"nothing came for {STALLED_S:g} s in the middle of the body") from error
            if message["type"] == "http.disconnect":
                raise ClientGone("the connection ended before the body did")
            return message

        self.receive = patient
        try:
            async for chunk in super().stream():
                yield chunk
        finally:
            self.receive = receive

    async def json(self) -> Any:
        """See `Request.json`.

        Raises:
            ValidationException: it is JSON, but not what is taken here.
            ClientException: it is no JSON.
        """
        data = self.route_handler.parsed_data_field
        if data is None:
            return await super().json()
        return decoded(await self.body(), data.raw)


def decoded(body: bytes, kind: Any) -> Any:
    """A JSON body as a value of this type. Raises as `StrictRequest.json`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _mistaken(error) from error
    except RecursionError as error:
        raise ClientException("the JSON is nested too deeply") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ClientException(f"the body is not JSON ({error})") from error


def require_strict(handler: BaseRouteHandler, path: Mapping[str, Any], query: bytes) -> None:
    """Look at the parameters of a path and at a query before the framework does: to it, a name may end in a line break,
    before which `$` in a pattern matches, too. Raises InvalidRequest, which points at the parameter."""
    for name, value in path.items():
        if CONTROL.search(str(value)):
            raise InvalidRequest("the request is not valid", ((f"?{name}", "has a control character in it"),))
    if not query:
        return
    known, seen = _parameters(handler), set[str]()
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if (looks := known.get(name)) is None:
            continue
        pattern, wanted = looks
        if name in seen:
            raise InvalidRequest("a parameter is there twice", ((f"?{name}", "is there more than once"),))
        seen.add(name)
        if not pattern.fullmatch(value):
            raise InvalidRequest("the request is not valid", ((f"?{name}", wanted),))


@cache
def _parameters(handler: BaseRouteHandler) -> Mapping[str, tuple[re.Pattern[str], str]]:
    """What parameters of a query look like, by their names; lists are not among them."""
    if not isinstance(handler, HTTPRouteHandler):
        return {}
    given = handler.resolve_dependencies()
    signatures = [handler.parsed_fn_signature, *(one.parsed_fn_signature for one in given.values())]
    fields = {name: field for one in signatures for name, field in one.parameters.items() if name not in given}
    fields.pop("request", None)
    return {_said(name, field): _looks(field) for name, field in fields.items() if _is_alone(field)}


def _said(name: str, field: FieldDefinition) -> str:
    """How a parameter is called in a query; one of a header is not called there at all."""
    about = field.kwarg_definition
    return (about.query or about.header or name) if isinstance(about, ParameterKwarg) else name


def _is_alone(field: FieldDefinition) -> bool:
    return not any(one.is_non_string_collection for one in (field, *field.inner_types))


def _looks(field: FieldDefinition) -> tuple[re.Pattern[str], str]:
    kinds = [kind for kind in get_args(field.annotation) or (field.annotation,) if kind is not NoneType]
    if str in kinds:
        return re.compile(r".*", re.DOTALL), ""
    return next((_LOOKS[kind] for kind in kinds if kind in _LOOKS), _NOT_NULL)


def _mistaken(error: msgspec.ValidationError) -> ValidationException:
    text = str(error)
    place = _PLACE.search(text)
    about = {"message": text.split(" - at `")[0], "key": place[1] if place else "", "source": "body"}
    return ValidationException("the body is not valid", extra=[about])
