"""Tidies up after uploads: what nobody goes on with is given up, what a crash left undone is done, and objects that
nothing names are deleted. Several processes may do it at once; `serving.cleaning` does it again and again."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlmodel import select

from pipeline.errors import VideoError
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.db.uploads import Upload
from serving.errors import ServerError
from serving.storage.owning import PREFIXES, owns
from serving.storage.store import Store
from serving.uploads.rows import parts_forgotten
from serving.uploads.tus import Uploads

_LOG = logging.getLogger(__name__)

#: Age from which an object that no row names is an orphan, seconds. A row is written right after its object.
ORPHANED_S: Final = 86_400.0

#: How long a full upload may be without being a video before somebody else sees to it: seconds, and bytes per second
#: besides, at which the slowest disk that is reckoned with copies it.
_GRACE_S, _GRACE_BYTES_PER_S = 30.0, 20e6

#: Uploads that are seen to in one transaction.
_AT_ONCE = 100

_LATE = text(
    """
    UPDATE upload SET status = 'expired' WHERE id IN (
        SELECT id FROM upload
        WHERE status = 'waiting' AND expires_at <= now()
            AND (method <> 'tus' OR received_bytes IS DISTINCT FROM size_bytes)
        LIMIT :most FOR UPDATE SKIP LOCKED
    )
    RETURNING id
    """
)

_LEFT = text(
    """
    status = 'waiting' AND method = 'tus' AND received_bytes = size_bytes
    AND updated_at < now() - make_interval(secs => :grace_s + size_bytes / :bytes_per_s)
    """
)

#: Those that nobody is about to name just now: whoever names one has a share of its lock, from when its key is written.
_LOCKED = text(
    """
    SELECT key FROM unnest(cast(:keys AS text[])) key
    WHERE pg_try_advisory_xact_lock(hashtextextended('object ' || key, 0))
    """
)

#: Those that nothing names; from here on, nothing can: see migration 0028. And whether nobody else has condemned them
#: before, who may be about to delete them, or have died over it.
_SWEPT = text(
    """
    INSERT INTO swept_object (object_key) SELECT key FROM unnest(cast(:keys AS text[])) key
    WHERE NOT EXISTS (SELECT FROM video WHERE object_key = key)
        AND NOT EXISTS (SELECT FROM upload_part WHERE object_key = key)
        AND NOT EXISTS (SELECT FROM rendition WHERE object_key = key)
    ON CONFLICT (object_key) DO UPDATE SET at = now()
    RETURNING object_key, xmax = 0 AS first
    """
)

_NAMED = text(
    """
    SELECT object_key FROM video WHERE object_key = ANY(:keys)
    UNION ALL SELECT object_key FROM upload_part WHERE object_key = ANY(:keys)
    UNION ALL SELECT object_key FROM rendition WHERE object_key = ANY(:keys)
    """
)


async def expire(database: Database, store: Store) -> int:
    """Give up uploads that nobody goes on with, and delete what came of them; how many there were."""
    expired = 0
    while True:
        async with database.write("clean.expired", SYSTEM) as session:
            ids = list((await execute(session, _LATE, most=_AT_ONCE)).scalars())
            keys = await parts_forgotten(session, ids) if ids else []
        for key in keys:
            await store.delete(key)
        expired += len(ids)
        if len(ids) < _AT_ONCE:
            return expired


async def finish_left(database: Database, uploads: Uploads) -> int:
    """Make videos of uploads whose bytes are all there, and whose process died over the rest; how many there were."""
    left = select(Upload).where(_LEFT).limit(_AT_ONCE)
    async with database.read(SYSTEM) as session:
        found = (await session.exec(left, params={"grace_s": _GRACE_S, "bytes_per_s": _GRACE_BYTES_PER_S})).all()
    for upload in found:
        try:
            await uploads.finish(upload)
        except (VideoError, ServerError) as error:
            # Where it is for good, it is in the upload's row by now.
            _LOG.info("%s: %s", upload.id, error)
        except Exception:  # noqa: BLE001 - the trouble of one upload is not that of those behind it
            _LOG.exception("%s cannot be finished; tried again later", upload.id)
    return len(found)


async def sweep(database: Database, store: Store, *, older_than_s: float = ORPHANED_S) -> int:
    """Delete objects that no row names, and what was left of those that never became whole; how many there were, each
    counted by who condemned it first. Nothing is done to a store that is not this database's own."""
    if not await owns(database, store):
        return 0
    before = datetime.now(UTC) - timedelta(seconds=older_than_s)
    removed = 0
    for prefix in PREFIXES:
        async for keys in store.older(prefix, before):
            async with database.read(SYSTEM) as session:
                named = set((await execute(session, _NAMED, keys=keys)).scalars()) if keys else set()
            unnamed = [key for key in keys if key not in named]
            for at in range(0, len(unnamed), _AT_ONCE):
                for key, first in (await _condemned(database, unnamed[at : at + _AT_ONCE])).items():
                    await store.delete(key)
                    removed += first
        removed += await store.sweep_unfinished(prefix, before)
    if removed:
        _LOG.info("%d objects that nothing named were deleted", removed)
    return removed


async def _condemned(database: Database, keys: Sequence[str]) -> dict[str, bool]:
    """Those that nothing names, and nothing will -> whether nobody had condemned them before. An object may be older
    than its looks: a store may say of one that it is from when it was begun. So its row may be about to be committed,
    however old it is."""
    async with database.write("clean.swept", SYSTEM) as session:
        free = list((await execute(session, _LOCKED, keys=list(keys))).scalars())
        return {row.object_key: row.first for row in (await execute(session, _SWEPT, keys=free)).all()}
