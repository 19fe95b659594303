"""Seals what was kept in rows before values were sealed: reports, and secrets of webhooks and uploads.

It may be ended at any time, and begun again: what is to be done is seen from the rows.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.database import SYSTEM, Database
from serving.db.media import StoredReport
from serving.db.uploads import Upload
from serving.db.work import Endpoint
from serving.errors import DatabaseUnavailable
from serving.storage.keyring import Keyring
from serving.uploads import confidential as of_uploads
from serving.webhooks import confidential as of_webhooks

#: Rows that are sealed in one transaction. Reports have megabytes.
_AT_ONCE: Final = 20

_REPORTS = select(StoredReport).where(col(StoredReport.sealed).is_(False)).order_by(col(StoredReport.job_id))
_ENDPOINTS = select(Endpoint).where(col(Endpoint.sealed).is_(None)).order_by(col(Endpoint.id))
_UPLOADS = (
    select(Upload)
    .where(col(Upload.sealed).is_(None), or_(col(Upload.url).is_not(None), col(Upload.tus_metadata).is_not(None)))
    .order_by(col(Upload.id))
)

#: Of these, the files are written anew: what was overwritten stays in them otherwise.
_TABLES: Final = ("report", "webhook_endpoint", "upload")


async def seal(database: Database, keyring: Keyring) -> int:
    """Seal what is not sealed yet, and write the tables anew that had it; how many rows there were.

    Raises:
        DatabaseUnavailable: as `Database.write`; or what was written over could not be taken off the disk.
        MasterKeyMissing, Altered: see `Keyring.tenant_key`.
    """

    async def report(session: AsyncSession, row: StoredReport) -> None:
        values = await keyring.values_to_seal(session, row.tenant_id, row.video_id)
        row.body, row.sealed = values.seal("report.body", row.job_id, row.body), True

    async def endpoint(session: AsyncSession, row: Endpoint) -> None:
        await of_webhooks.seal(session, keyring, row, await of_webhooks.opened(keyring.of_tenants(session), row))

    async def upload(session: AsyncSession, row: Upload) -> None:
        await of_uploads.seal(session, keyring, row, await of_uploads.opened(keyring.of_tenants(session), row))

    done = await _each(database, _REPORTS, report)
    done += await _each(database, _ENDPOINTS, endpoint)
    done += await _each(database, _UPLOADS, upload)
    if done:
        await _written_anew(database)
    return done


async def _each(database: Database, which: Any, sealed: Callable[[AsyncSession, Any], Awaitable[None]]) -> int:
    done = 0
    while True:
        async with database.write("storage.seal", SYSTEM) as session:
            rows = (await session.exec(which.limit(_AT_ONCE).with_for_update())).all()
            for row in rows:
                await sealed(session, row)
                session.add(row)
        done += len(rows)
        if len(rows) < _AT_ONCE:
            return done


async def _written_anew(database: Database) -> None:
    try:
        connection = await asyncpg.connect(database.url, timeout=10)
        try:
            for table in _TABLES:
                await connection.execute(f"VACUUM FULL {table}")
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresError) as error:
        raise DatabaseUnavailable(
            f"all is sealed, but what was written over is still on the disk ({error}): "
            f"run VACUUM FULL {', '.join(_TABLES)} in the database"
        ) from error
