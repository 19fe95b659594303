"""The audit log as bytes: a line, the tag of who wrote it, its link in a chain, and the head of a chain.

docs/audit.md says all of it byte by byte. Nothing here touches a database.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

#: Bytes of a tag, of a link, and of a seal: HMAC-SHA256.
MAC_BYTES: Final = 32

#: What a chain begins with.
BEGINNING: Final = bytes(MAC_BYTES)

#: The chain of lines that belong to no tenant.
SYSTEM_CHAIN: Final = ""

_TAG, _LINK, _HEAD = b"automations audit tag 1", b"automations audit link 1", b"automations audit head 1"

#: The length of a text that is none.
_NONE: Final = b"\xff\xff\xff\xff"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Line:
    """An entry of the log: what `serving.db.audit.AuditEntry` says of each field."""

    id: str
    tenant_id: str | None
    at: datetime
    kind: str
    operation: str
    actor: str | None = None
    credential: str | None = None
    address: str | None = None
    request_id: str | None = None
    write: str | None = None
    targets: tuple[str, ...] = ()
    code: str | None = None
    count: int = 1

    @property
    def chain(self) -> str:
        """Which chain it belongs to."""
        return self.tenant_id or SYSTEM_CHAIN

    def encoded(self) -> bytes:
        """Its bytes; no two lines have the same."""
        before = (self.kind, self.operation, self.actor, self.credential, self.address, self.request_id, self.write)
        return b"".join(
            (
                _text(self.id),
                _text(self.tenant_id),
                _moment(self.at),
                *map(_text, before),
                struct.pack(">I", len(self.targets)),
                *map(_text, self.targets),
                _text(self.code),
                # Signed: a count that nobody writes has bytes, too, and so a place where it is seen.
                struct.pack(">i", self.count),
            )
        )


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain begins and ends, as it was sealed."""

    chain: str
    """Id of the tenant, or `SYSTEM_CHAIN`."""
    ordinal: int
    """Chains are counted as they begin; the system's is 0."""
    chains: int
    """Of the system's chain: how many others there are. Of others 0."""
    tagged: int
    """Number of the first line from which on all have tags: 1, but in a chain that began before there was a key, which
    has so many lines before that one as there were then."""
    first: int
    """Number of the last line that was deleted because it was old; 0: none was. So is"""
    first_mac: bytes
    """[32] its link, or `BEGINNING`."""
    cleared: datetime | None
    """Every line that is older was deleted; a day less than that, for lines do not come quite in the order of time."""
    number: int
    """Number of the last line; so is"""
    mac: bytes
    """[32] its link."""

    def seal(self, key: bytes) -> bytes:
        """[32] What shows that it was not changed."""
        numbers = struct.pack(">QQQQ", self.ordinal, self.chains, self.tagged, self.first)
        cleared = _moment(self.cleared or _EPOCH)
        end = struct.pack(">Q", self.number) + self.mac
        return _mac(key, _HEAD, _text(self.chain) + numbers + self.first_mac + cleared + end)


def begun(chain: str, ordinal: int, chains: int = 0, untagged: int = 0) -> Head:
    """The head of a chain that has no line yet. `untagged`: lines it will have from before there was a key."""
    return Head(chain, ordinal, chains, untagged + 1, 0, BEGINNING, None, 0, BEGINNING)


def columns(of: Line | Head) -> dict[str, Any]:
    """Name of a field -> what it is."""
    return {name: getattr(of, name) for name in type(of).__slots__}  # type: ignore[attr-defined]


def line_of(row: Any) -> Line:
    """A line, of something that has its fields."""
    found: dict[str, Any] = {field.name: getattr(row, field.name) for field in fields(Line)}
    found["targets"] = tuple(row.targets)
    return Line(**found)


def head_of(row: Any) -> Head:
    """A head, likewise; without its seal."""
    return Head(**{field.name: getattr(row, field.name) for field in fields(Head)})


def tag(key: bytes, line: Line) -> bytes:
    """[32] What shows that who wrote a line had the key of the log."""
    return _mac(key, _TAG, line.encoded())


def link(key: bytes, chain: str, number: int, previous: bytes, tag: bytes | None, line: Line | None, id: str) -> bytes:
    """[32] The link of a line.

    Args:
        number: of the line in its chain, from 1.
        previous: [32] the link of the one before it, or `BEGINNING`.
        tag: [32] of the line; None of one from before there were tags.
        line: None where it was gone before it was linked; then
        id: is all that is known of it.
    """
    place = _text(chain) + struct.pack(">Q", number) + previous
    return _mac(key, _LINK, place + _bytes(tag) + (_text(id) if line is None else line.encoded()))


def same(one: bytes, other: bytes | None) -> bool:
    """Whether two of these are equal; takes as long either way."""
    return other is not None and hmac.compare_digest(one, other)


def _mac(key: bytes, label: bytes, what: bytes) -> bytes:
    return hmac.digest(key, label + what, hashlib.sha256)


def _text(text: str | None) -> bytes:
    return _bytes(None if text is None else text.encode())


def _bytes(value: bytes | None) -> bytes:
    return _NONE if value is None else struct.pack(">I", len(value)) + value


def _moment(at: datetime) -> bytes:
    """Microseconds since 1970, signed."""
    return struct.pack(">q", (at - _EPOCH) // _MICROSECOND)
