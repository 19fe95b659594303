"""Reads and keeps what was made of videos. Nobody but this knows the table.

What is read back is what this server wrote for that very object and name, or it is nothing: then it is made anew, and
where somebody altered a row, the log says so. So nothing that is kept can do more harm than cost the time to make it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from pipeline.errors import Altered
from pipeline.sealed.form import What
from serving.audit.acting import ACTING
from serving.db.database import Database
from serving.db.derived import Derived
from serving.db.keys import DataKey, TenantKey
from serving.db.statements import execute
from serving.errors import DatabaseUnavailable
from serving.storage.keyring import Keyring, values_at
from serving.storage.store import video_at
from serving.storage.values import Values

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

Name = Literal["cut", "packets", "poster", "storyboard"]
"""All that is kept of an object: no more than four rows, whatever is asked for."""

#: Forms that are read; others are made anew. One is counted up where what is in it changes, or would be made otherwise.
VERSIONS: Final[dict[Name, int]] = {"cut": 2, "packets": 1, "poster": 2, "storyboard": 1}

#: Bytes that one is kept with at most: six hours of film. What is larger is made in each process, as long as it is
#: asked for; a day at 60 frames a second would be ten times as much, of a database that is read row by row.
MOST_BYTES: Final = 8 << 20

#: Whoever deletes the video holds its row; and only what is still served is kept.
_STILL: Final = text(
    """
    SELECT v.id FROM video v WHERE v.tenant_id = :tenant AND v.id = :video AND (
        v.object_key = :object OR EXISTS (
            SELECT FROM rendition r WHERE r.video_id = v.id AND r.object_key = :object))
    FOR KEY SHARE OF v
    """
)

#: Of objects that the video has no more: another rendition took the place of one that was lost.
_LEFT: Final = text(
    """
    DELETE FROM derived d WHERE d.tenant_id = :tenant AND d.video_id = :video
        AND NOT EXISTS (SELECT FROM video v WHERE v.id = d.video_id AND v.object_key = d.object_key)
        AND NOT EXISTS (SELECT FROM rendition r WHERE r.video_id = d.video_id AND r.object_key = d.object_key)
    """
)


@dataclass(frozen=True, slots=True)
class Source:
    """An object of a video, of which something is made. Whoever asks has just read the video's row."""

    tenant_id: str
    video_id: str
    object_key: str
    key: bytes | None = field(repr=False)
    """[32] What it is sealed with; None of one from before objects were."""

    @property
    def what(self) -> What:
        """As what it is sealed."""
        return video_at(self.tenant_id, self.object_key)


class Shelf:
    """Of one process."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database, self._keyring = database, keyring

    async def get(
        self,
        source: Source,
        name: Name,
        read: Callable[[bytes], T | None],
        make: Callable[[], Awaitable[T]],
        write: Callable[[T], bytes],
    ) -> T:
        """What is kept, or else is made, and then kept.

        Args:
            read, write: called in a thread. `read` gives None where what is kept is of no use, and raises ValueError
                where it should not be there as it is, which the log says.

        Raises:
            DatabaseUnavailable, MasterKeyMissing: as `read`. And what `make` raises.
        """
        kept = await self.read(source, name)
        if kept is not None:
            try:
                found = await asyncio.to_thread(read, kept)
            except ValueError as error:
                _LOG.warning("%s of %s is made anew: %s", name, source.video_id, error)
            else:
                if found is not None:
                    return found
        made = await make()
        await self.keep(source, name, await asyncio.to_thread(write, made))
        return made

    async def read(self, source: Source, name: Name) -> bytes | None:
        """What is kept; None where nothing is that is of use.

        Raises:
            DatabaseUnavailable: it cannot be reached now.
            MasterKeyMissing: see `Keyring.tenant_key`.
        """
        async with self._database.read(source.tenant_id) as session:
            row = (await session.execute(_query(source, name))).one_or_none()
            if row is None or row.DataKey is None or row.TenantKey is None:
                return None
            try:
                values = Values(source.tenant_id, await self._keyring.unwrap(row.DataKey, row.TenantKey))
                kept = values.open("derived.sealed", _row(source, name), row.sealed)
            except Altered as error:
                _LOG.warning("%s of %s is made anew: %s", name, source.video_id, error)
                return None
        return kept[1:] if kept[:1] == bytes((VERSIONS[name],)) else None

    async def keep(self, source: Source, name: Name, content: bytes) -> bool:
        """Keep what was made, in place of what was; whether it is kept. It is not where it is larger than `MOST_BYTES`,
        where the video is gone, and where the database is, which the log says: whoever made it goes on with it."""
        if len(content) > MOST_BYTES:
            _LOG.info("%s of %s is not kept: %d bytes", name, source.video_id, len(content))
            return False
        # Nobody asked for a write: the server keeps what it will need again.
        acting = ACTING.set(None)
        try:
            return await self._kept(source, name, bytes((VERSIONS[name],)) + content)
        except (Altered, DatabaseUnavailable) as error:
            _LOG.warning("%s of %s is not kept: %s", name, source.video_id, error)
            return False
        finally:
            ACTING.reset(acting)

    async def _kept(self, source: Source, name: Name, plain: bytes) -> bool:
        this = {"tenant": source.tenant_id, "video": source.video_id}
        async with self._database.write("derived.write", source.tenant_id) as session:
            if (await execute(session, _STILL, **this, object=source.object_key)).one_or_none() is None:
                return False
            values = await self._keyring.values_to_seal(session, source.tenant_id, source.video_id)
            sealed = values.seal("derived.sealed", _row(source, name), plain)
            await execute(session, _LEFT, **this)
            key = {"video_id": source.video_id, "object_key": source.object_key, "name": name}
            row = insert(Derived).values(**key, tenant_id=source.tenant_id, sealed=sealed)
            fresh = {"sealed": row.excluded.sealed, "made_at": text("now()")}
            await execute(session, row.on_conflict_do_update(index_elements=list(key), set_=fresh))
        return True


def _row(source: Source, name: Name) -> str:
    """What names the row: a value opens for its object and name only, and by its video's key."""
    return f"{source.object_key}/{name}"


def _query(source: Source, name: Name) -> Any:
    """The row, with its key: one round trip."""
    # In the words of `values_at`, which PostgreSQL has to find the row by.
    of = values_at(source.tenant_id, "") + col(Derived.video_id)
    key = (col(DataKey.object_key) == of) & (col(DataKey.tenant_id) == source.tenant_id)
    by = (col(TenantKey.tenant_id) == source.tenant_id) & (col(TenantKey.version) == col(DataKey.tenant_version))
    found = select(col(Derived.sealed), DataKey, TenantKey).select_from(Derived)  # type: ignore[call-overload]
    return (
        found.outerjoin(DataKey, key)
        .outerjoin(TenantKey, by)
        .where(
            col(Derived.tenant_id) == source.tenant_id,
            col(Derived.video_id) == source.video_id,
            col(Derived.object_key) == source.object_key,
            col(Derived.name) == name,
        )
    )
