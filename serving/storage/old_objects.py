"""Seals videos from before objects were sealed. Several processes may do it at once; `serving.cleaning` does it again
and again."""

import logging
import secrets
from typing import Final

from sqlalchemy import text
from sqlmodel import select

from pipeline.errors import VideoError
from serving.db.database import SYSTEM, Database
from serving.db.media import Video
from serving.db.statements import execute
from serving.errors import ServerError
from serving.storage.store import Store, Written, video_at

_LOG = logging.getLogger(__name__)

#: Videos that are looked up at once.
_AT_ONCE: Final = 100

#: While a job runs, it reads the object that it began with.
_RUNS: Final = (
    "EXISTS (SELECT FROM job j WHERE j.tenant_id = v.tenant_id AND j.video_id = v.id AND j.state = 'running')"
)

_UNSEALED = text(
    f"""
    SELECT v.id, v.tenant_id, v.object_key, v.sha256 FROM video v
    WHERE v.id > :after AND NOT {_RUNS}
        AND NOT EXISTS (SELECT FROM data_key d WHERE d.object_key = v.object_key)
    ORDER BY v.id LIMIT :most
    """
)

_BUSY = text(f"SELECT {_RUNS} FROM video v WHERE v.id = :video")


async def seal(database: Database, store: Store) -> int:
    """Seal what is not sealed yet; how many there were. What cannot be is said, and tried again the next time."""
    done, after = 0, ""
    while True:
        async with database.read(SYSTEM) as session:
            found = (await execute(session, _UNSEALED, after=after, most=_AT_ONCE)).all()
        for one in found:
            try:
                done += await _seal(database, store, one.tenant_id, one.id, one.object_key, one.sha256)
            except (OSError, VideoError, ServerError) as error:
                _LOG.warning("%s cannot be sealed (%s); tried again later", one.id, error)
        if len(found) < _AT_ONCE:
            return done
        after = found[-1].id


async def _seal(database: Database, store: Store, tenant: str, video_id: str, old: str, sha256: str) -> bool:
    """Write it anew, sealed, and have its row name that; whether it did. Raises OSError where its bytes are gone."""
    new = f"videos/{video_id}-{secrets.token_hex(8)}"
    written = await store.put(video_at(tenant, new), store.get(video_at(tenant, old), None))
    if written.sha256 != sha256:
        await store.delete(new)
        raise OSError("its bytes are not those that came")
    if not await _named(database, store, tenant, video_id, old, new, written):
        await store.delete(new)
        return False
    async with database.read(tenant) as session:
        busy = (await execute(session, _BUSY, video=video_id)).scalar_one_or_none()
    # Whoever reads the old one by now has a job that runs. It is swept then, as an object that nothing names.
    if not busy:
        await store.delete(old)
    return True


async def _named(
    database: Database, store: Store, tenant: str, video_id: str, old: str, new: str, written: Written
) -> bool:
    async with database.write("storage.seal", tenant) as session:
        query = select(Video).where(Video.tenant_id == tenant, Video.id == video_id, Video.object_key == old)
        video = (await session.exec(query.with_for_update())).one_or_none()
        if video is None:
            return False  # it was deleted meanwhile, or somebody else was quicker
        video.object_key = new
        session.add(video)
        await store.keyring.keep(session, tenant, new, written.key, video_id=video_id)
    return True
