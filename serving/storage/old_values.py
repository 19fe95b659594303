"""Seals what was kept in rows before values were sealed: reports, and secrets of webhooks and uploads.

It may be ended at any time, and begun again: what is to be done is seen from the rows, and which tables are then to be
written anew, from `WrittenOver`.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg
from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.database import SYSTEM, Database
from serving.db.keys import WrittenOver
from serving.db.media import StoredReport
from serving.db.statements import execute
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


async def seal(database: Database, keyring: Keyring) -> int:
    """Seal what is not sealed yet, and write the tables anew that had it, now or earlier; how many rows there were.

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

    done = await _each(database, "report", _REPORTS, report)
    done += await _each(database, "webhook_endpoint", _ENDPOINTS, endpoint)
    done += await _each(database, "upload", _UPLOADS, upload)
    async with database.read(SYSTEM) as session:
        tables = (await session.exec(select(WrittenOver.table_name).order_by(WrittenOver.table_name))).all()
    for table in tables:
        await _written_anew(database, table)
    return done


async def _each(
    database: Database, table: str, which: Any, sealed: Callable[[AsyncSession, Any], Awaitable[None]]
) -> int:
    done = 0
    while True:
        async with database.write("storage.seal", SYSTEM) as session:
            rows = (await session.exec(which.limit(_AT_ONCE).with_for_update())).all()
            for row in rows:
                await sealed(session, row)
                session.add(row)
            if rows:
                # With the first of them: whoever is ended before the table is written anew leaves that to the next.
                await execute(session, insert(WrittenOver).values(table_name=table).on_conflict_do_nothing())
        done += len(rows)
        if len(rows) < _AT_ONCE:
            return done


async def _written_anew(database: Database, table: str) -> None:
    """Have a table's files written anew: what was written over stays in the old ones, which are deleted."""
    try:
        connection = await asyncpg.connect(database.url, timeout=10)
        try:
            await connection.execute(f'VACUUM FULL "{table}"')
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresError) as error:
        raise DatabaseUnavailable(
            f"all is sealed, but what was written over in {table} is still on the disk ({error}): "
            "run `automations keys seal` again"
        ) from error
    async with database.write("storage.seal", SYSTEM) as session:
        await execute(session, delete(WrittenOver).where(col(WrittenOver.table_name) == table))
