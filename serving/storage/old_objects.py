"""Seals videos from before objects were sealed, where no worker runs: whoever reads a video has its object's name, and
would not find it any more.

It may be ended at any time, and begun again: what is to be done is seen from the rows.
"""

import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Final

import asyncpg
from sqlalchemy import text
from sqlmodel import select

from pipeline.errors import VideoError
from pipeline.record import Record
from serving.audit.acting import about
from serving.db.database import SYSTEM, Database
from serving.db.media import Video
from serving.db.statements import execute
from serving.errors import Conflict, DatabaseUnavailable, ServerError
from serving.storage.store import Store, Written, video_at
from serving.workers import ALIVE_S, alive

#: Videos that are looked up at once.
_AT_ONCE: Final = 100

_ONE: Final = "SELECT pg_try_advisory_lock(hashtextextended('storage seal', 0))"

_UNSEALED = text(
    """
    SELECT v.id, v.tenant_id, v.object_key, v.sha256 FROM video v
    WHERE v.id > :after AND NOT EXISTS (SELECT FROM data_key d WHERE d.object_key = v.object_key)
    ORDER BY v.id LIMIT :most
    """
)


class Sealed(Record, frozen=True, kw_only=True):
    """What was done about what was not sealed."""

    sealed: int
    """Videos that are sealed now."""
    failed: dict[str, str]
    """Id of a video that cannot be sealed -> why; it is as it was."""
    rows: int = 0
    """Rows of the database whose values are sealed now, see `old_values`."""


async def seal(database: Database, store: Store, failed: Callable[[str, str], object] = lambda *_: None) -> Sealed:
    """Seal what is not sealed yet.

    Args:
        failed: told of each video that cannot be sealed, and why, at once.

    Raises:
        Conflict: a worker is alive, or somebody else is at it. What was sealed by then is.
        DatabaseUnavailable: as `Database.read`.
    """
    done, why, after = 0, {}, ""
    async with _alone(database):
        while True:
            async with database.read(SYSTEM) as session:
                found = (await execute(session, _UNSEALED, after=after, most=_AT_ONCE)).all()
            for one in found:
                await _require_no_worker(database)
                try:
                    done += await _seal(database, store, one.tenant_id, one.id, one.object_key, one.sha256)
                except (Conflict, DatabaseUnavailable):
                    raise
                except (OSError, VideoError, ServerError) as error:
                    why[one.id] = str(error)
                    failed(one.id, str(error))
            if len(found) < _AT_ONCE:
                return Sealed(sealed=done, failed=why)
            after = found[-1].id


@contextlib.asynccontextmanager
async def _alone(database: Database) -> AsyncIterator[None]:
    """No other process is at it while the block lasts. Raises Conflict."""
    connection = await asyncpg.connect(database.url, timeout=10)
    try:
        if not await connection.fetchval(_ONE):
            raise Conflict("videos are being sealed already, by another process; wait for that one")
        await _require_no_worker(database)
        yield
    finally:
        await connection.close()


async def _require_no_worker(database: Database) -> None:
    if workers := await alive(database):
        raise Conflict(
            f"{len(workers)} workers are alive, who may be reading what is to be replaced; stop the server and all "
            f"workers, wait {ALIVE_S:g} s, and seal again"
        )


async def _seal(database: Database, store: Store, tenant: str, video_id: str, old: str, sha256: str) -> bool:
    """Write it anew, sealed, and have its row name that; whether it did.

    Raises:
        OSError: its bytes are gone, or not those that came, or cannot be written.
        Altered: what was written is not what is read.
        Conflict: a worker came meanwhile.
    """
    new = f"videos/{video_id}-{secrets.token_hex(8)}"
    written = await store.put(video_at(tenant, new), store.get_raw(old))
    try:
        if written.sha256 != sha256:
            raise OSError("its bytes are not those that came")
        await _require_readable(store, tenant, new, written)
        await _require_no_worker(database)
    except (OSError, VideoError, ServerError):
        # No row names it yet.
        await store.delete(new)
        raise
    if not await _named(database, store, tenant, video_id, old, new, written):
        await store.delete(new)
        return False
    await store.delete(old)
    return True


async def _require_readable(store: Store, tenant: str, new: str, written: Written) -> None:
    """Read what was written, as it will be read from now on. Raises OSError and Altered."""
    digest = hashlib.sha256()
    async for chunk in store.get(video_at(tenant, new), written.key):
        digest.update(chunk)
    if digest.hexdigest() != written.sha256:
        raise OSError("what was sealed is not read as what it was")


async def _named(
    database: Database, store: Store, tenant: str, video_id: str, old: str, new: str, written: Written
) -> bool:
    async with database.write("storage.seal", tenant) as session:
        query = select(Video).where(Video.tenant_id == tenant, Video.id == video_id, Video.object_key == old)
        video = (await session.exec(query.with_for_update())).one_or_none()
        if video is None:
            return False  # it was deleted meanwhile
        about(video_id)
        video.object_key = new
        session.add(video)
        await store.keyring.keep(session, tenant, new, written.key, video_id=video_id)
    return True
