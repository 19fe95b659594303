"""Lists come in pages: `?limit&cursor` -> `{data, next_cursor}`. A cursor says where the last page ended, not how many
were before it, so that a list may be as long as it likes and may change meanwhile."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    return _behind(columns, place, downwards=True)


def page_of(found: Sequence[R], limit: int, view: Callable[[R], T], place: Callable[[R], object]) -> Page[T]:
    """A page of rows, of which one more was asked for than it may hold."""
    cursor = encode_cursor(place(found[limit - 1])) if len(found) > limit else None
    return Page(data=tuple(view(row) for row in found[:limit]), next_cursor=cursor)


#: Longest cursor: one may hold a title.
MAX_CURSOR = 4096


@dataclass(frozen=True, slots=True)
class Order:
    """How a list is sorted: by a column that is never NULL, then by id; and what else was asked for with it."""

    column: Any
    """Of the database; the row has a field of the same name."""
    id: Any
    kind: Any
    """Type of the column's values."""
    downwards: bool
    asked: str
    """Names the sort and the filters: a cursor is good for the list that it comes from only."""

    def page(self, query: Any, limit: int, cursor: str | None) -> Any:
        """The rows of a page and one more. Raises InvalidRequest: the cursor is of another list, or none at all."""
        columns = (self.column, self.id)
        if cursor is not None:
            stamp, *place = decode_cursor(cursor, tuple[str, self.kind, str])
            if stamp != self._stamp:
                raise InvalidRequest(
                    "the cursor is of a list with another sort or other filters; begin that one without a cursor",
                    (("?cursor", "of another list"),),
                )
            query = query.where(_behind(columns, tuple(place), downwards=self.downwards))
        ordered = [column.desc() if self.downwards else column.asc() for column in columns]
        return query.order_by(*ordered).limit(limit + 1)

    def place(self, row: Any) -> tuple[str, Any, str]:
        """Where a page ends that ends with this row."""
        return self._stamp, getattr(row, self.column.key), row.id

    @property
    def _stamp(self) -> str:
        told = f"{self.column.key} {self.downwards} {self.asked}"
        return hashlib.sha256(told.encode(errors="backslashreplace")).hexdigest()[:16]


def _behind(columns: tuple[Any, ...], place: tuple[Any, ...], *, downwards: bool) -> ColumnElement[bool]:
    here = tuple_(*(literal(value) for value in place))
    return tuple_(*columns) < here if downwards else tuple_(*columns) > here
