"""Lists come in pages: `?limit&cursor` -> `{data, next_cursor}`. A cursor says where the last page ended, not how many
were before it, so that a list may be as long as it likes and may change meanwhile."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import ColumnElement, literal, tuple_

from pipeline.record import Record
from serving.errors import InvalidRequest

T = TypeVar("T")
C = TypeVar("C")
R = TypeVar("R")

#: Entries of a page, where nobody says, and at most.
DEFAULT_LIMIT, MAX_LIMIT = 20, 100


class Page(Record, Generic[T], frozen=True, kw_only=True):
    """Some entries of a list."""

    data: tuple[T, ...]
    next_cursor: str | None = None
    """For the next page; none after the last."""


def encode_cursor(place: object) -> str:
    """Where a page ended, as a word that means nothing to the caller."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def decode_cursor(cursor: str, kind: type[C] | Any) -> C:
    """The other way round. Raises InvalidRequest for what is none of ours."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=kind)
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise InvalidRequest("the cursor is not one that was given out here", (("?cursor", "not a cursor"),)) from error


def after(columns: tuple[Any, ...], place: tuple[Any, ...]) -> ColumnElement[bool]:
    """What comes behind a place, where the columns are sorted downwards."""
    return tuple_(*columns) < tuple_(*(literal(value) for value in place))


def page_of(found: Sequence[R], limit: int, view: Callable[[R], T], place: Callable[[R], object]) -> Page[T]:
    """A page of rows, of which one more was asked for than it may hold."""
    cursor = encode_cursor(place(found[limit - 1])) if len(found) > limit else None
    return Page(data=tuple(view(row) for row in found[:limit]), next_cursor=cursor)
