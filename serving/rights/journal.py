"""The journal of erasures: what was erased, where no backup of the database takes it back.

One small object for each erasure, `erasures/era_...`, written once and never changed. It says who, which and when, and
nothing of what was erased. Whoever restores a backup reads it first. See docs/privacy.md.

Entries are signed: whoever may write to the store, but has not got the master key, could have a backup forget videos
that nobody erased. What they are signed with comes of the key of the audit log, which is in the database, wrapped by
the master key, and in each backup: so it outlasts rotations and restores.
"""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, NewType, TypeVar

import msgspec

from pipeline.record import Record
from serving.db.rights import Erasure
from serving.errors import InvalidRequest
from serving.storage.store import Store

PREFIX: Final = "erasures"

VERSION: Final = 1

#: Objects that are read or written at once: a bucket takes its time over each, however small.
AT_ONCE: Final = 32

#: What the key of the journal is made of that of the audit log by, and what all that it signs begins with.
_OURS: Final = b"automations journal of erasures"

#: [32] What entries are signed with.
JournalKey = NewType("JournalKey", bytes)

_T = TypeVar("_T")


class Erased(Record, frozen=True, kw_only=True):
    """An erasure, as the journal has it."""

    version: int
    id: Annotated[str, msgspec.Meta(pattern=r"\Aera_[0-9A-Za-z_]{1,60}\Z")]
    """It is the name of an object."""
    tenant_id: str
    video_id: str
    reason: str
    rule_id: str | None
    counts: dict[str, int]
    at: datetime
    mac: str | None = None
    """Shows that who wrote it had the key, 64 hexadecimal digits; None of one from before entries were signed."""


def key_of(audit_key: bytes) -> JournalKey:
    """What entries are signed with. `audit_key`: [32] see `serving.audit.signing.AuditSigner.key`."""
    return JournalKey(hmac.digest(audit_key, _OURS, hashlib.sha256))


def signed(erased: Erased, key: JournalKey) -> Erased:
    """The same entry, signed."""
    return msgspec.structs.replace(erased, mac=_mac(erased, key))


def is_signed(erased: Erased, key: JournalKey) -> bool:
    """Whether who wrote an entry had the key, and nobody changed it since."""
    return erased.mac is not None and hmac.compare_digest(erased.mac.encode(), _mac(erased, key).encode())


def _mac(erased: Erased, key: JournalKey) -> str:
    bare = msgspec.structs.replace(erased, mac=None, at=erased.at.astimezone(UTC))
    # In an order of its own: a database gives names of counts back in another one than they came in.
    return hmac.digest(key, _OURS + msgspec.json.encode(bare, order="deterministic"), hashlib.sha256).hex()


def entry(erasure: Erasure) -> Erased:
    """A row as the journal has it."""
    return Erased(
        version=VERSION,
        id=erasure.id,
        tenant_id=erasure.tenant_id,
        video_id=erasure.video_id,
        reason=erasure.reason,
        rule_id=erasure.rule_id,
        counts=erasure.counts,
        at=erasure.at,
    )


async def write(store: Store, erased: Erased) -> None:
    """Write an erasure down; written twice, it is the same. Raises OSError."""
    await store.put_raw(f"{PREFIX}/{erased.id}", _once(msgspec.json.encode(erased) + b"\n"))


async def write_all(store: Store, erased: Sequence[Erased]) -> None:
    """The same of many, in no order."""
    for some in _some(erased):
        await asyncio.gather(*(write(store, one) for one in some))


async def read(store: Store) -> list[Erased]:
    """All of it, in the order of time. Raises OSError, and InvalidRequest: see `parsed`."""
    found: list[Erased] = []
    async for keys in store.keys(PREFIX):
        for some in _some(keys):
            for entries in await asyncio.gather(*(_read(store, key) for key in some)):
                found += entries
    return sorted(found, key=lambda one: one.id)


async def _read(store: Store, key: str) -> list[Erased]:
    return parsed(b"".join([chunk async for chunk in store.get_raw(key)]), key)


def _some(them: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for at in range(0, len(them), AT_ONCE):
        yield them[at : at + AT_ONCE]


def parsed(lines: bytes, name: str) -> list[Erased]:
    """Entries, one a line. Raises InvalidRequest where a line is none: who leaves one out brings a video back."""
    try:
        found = [msgspec.json.decode(line, type=Erased) for line in lines.splitlines() if line.strip()]
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"{name}: not a journal of erasures ({error})") from error
    if any(one.version != VERSION for one in found):
        raise InvalidRequest(f"{name}: a journal of another version than {VERSION}; use a newer `automations`")
    return found


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
