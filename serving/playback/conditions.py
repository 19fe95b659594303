"""What a request for bytes is answered with: all of them, a part, or that nothing changed (RFC 9110, 13 and 14)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final

from serving.errors import RangeRefused, VersionChanged

#: One range of bytes; of several, or of what is none, nothing is heard (RFC 9110, 14.2): all of it is sent. No player
#: asks for several, and parts of parts in one answer are a way to have a server do too much.
_RANGE: Final = re.compile(r"bytes=[ \t]*([0-9]{0,19})-([0-9]{0,19})[ \t]*", re.IGNORECASE)

_TAG: Final = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


@dataclass(frozen=True, slots=True)
class Representation:
    """Bytes that never change under their name: what RFC 9110, 3.2, calls the selected representation."""

    size_bytes: int
    tag: str
    """What only these bytes have, without quotes."""
    since: datetime
    """When they came."""

    @property
    def etag(self) -> str:
        """A strong entity tag."""
        return f'"{self.tag}"'

    @property
    def last_modified(self) -> str:
        """As HTTP writes a time."""
        return format_datetime(self._seconds(), usegmt=True)

    def _seconds(self) -> datetime:
        return self.since.astimezone(UTC).replace(microsecond=0)

    def changed_since(self, date: str) -> bool | None:
        """Whether they came after a time; None where that is none."""
        if (moment := _moment(date)) is None:
            return None
        return self._seconds() > moment

    def is_of(self, date: str) -> bool:
        """Whether they came at exactly that time."""
        return _moment(date) == self._seconds()


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a request says about when it wants what; None of what it does not say."""

    range: str | None = None
    if_range: str | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent."""

    status: int
    """200, 206 or 304."""
    start: int
    stop: int
    """Bytes from `start` up to, not including, `stop`."""


def answer_to(asked: Conditions, kept: Representation) -> Answer:
    """What is sent of bytes, in the order of RFC 9110, 13.2.2.

    Raises:
        VersionChanged: they are not those that `If-Match` or `If-Unmodified-Since` names.
        RangeRefused: a range begins behind their end.
    """
    if asked.if_match is not None:
        if not _names(asked.if_match, kept.etag, weakly=False):
            raise VersionChanged("these are not the bytes that `If-Match` names")
    elif asked.if_unmodified_since is not None and kept.changed_since(asked.if_unmodified_since):
        raise VersionChanged("these bytes came after the time that `If-Unmodified-Since` names")
    if asked.if_none_match is not None:
        if _names(asked.if_none_match, kept.etag, weakly=True):
            return Answer(304, 0, 0)
    elif asked.if_modified_since is not None and kept.changed_since(asked.if_modified_since) is False:
        return Answer(304, 0, 0)
    if asked.range is not None and _still(asked.if_range, kept) and (part := _part(asked.range, kept.size_bytes)):
        return Answer(206, *part)
    return Answer(200, 0, kept.size_bytes)


def _part(said: str, size: int) -> tuple[int, int] | None:
    """The bytes of a range; None where it is none, or more than one. Raises RangeRefused."""
    found = _RANGE.fullmatch(said.strip())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        length = int(found[2])
        if not length or not size:
            raise RangeRefused(size)
        return max(0, size - length), size
    start, last = int(found[1]), int(found[2]) if found[2] else size - 1
    if found[2] and last < start:
        return None
    if start >= size:
        raise RangeRefused(size)
    return start, min(last + 1, size)


def _still(if_range: str | None, kept: Representation) -> bool:
    """Whether a range is of these bytes: a weak tag never says so."""
    if if_range is None:
        return True
    if_range = if_range.strip()
    return if_range == kept.etag if if_range.startswith(('"', "W/")) else kept.is_of(if_range)


def _names(tags: str, etag: str, *, weakly: bool) -> bool:
    if tags.strip() == "*":
        return True
    found = _TAG.findall(tags)
    return etag in ([tag.removeprefix("W/") for tag in found] if weakly else found)


def _moment(date: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(date)
        # What says no zone is in that of HTTP.
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
