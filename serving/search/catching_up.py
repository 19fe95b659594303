"""Vectors of reports that were made before there was a search: written from what the reports keep, without a decode."""

import asyncio
import logging
from typing import Final

import msgspec
from sqlalchemy import text

from pipeline.errors import VideoError
from pipeline.indexing import Index, index_of
from pipeline.report import Report
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.jobs.running import Toolkits
from serving.search.latest import is_still_latest
from serving.search.writing import write_vectors
from serving.storage import reports
from serving.storage.keyring import Keyring
from serving.storage.reports import KeptReport
from serving.tagging.deriving import write_report_tags

_LOG = logging.getLogger(__name__)

#: Videos that are looked up at once.
_AT_ONCE: Final = 50

_BEHIND = text(
    """
    SELECT v.id, v.tenant_id FROM video v
    WHERE v.id > :after AND EXISTS (SELECT FROM report r WHERE r.video_id = v.id)
        AND NOT EXISTS (SELECT FROM moment m WHERE m.video_id = v.id)
    ORDER BY v.id LIMIT :most
    """
)
_REMOVED = text("SELECT 1 FROM space WHERE tenant_id = :tenant AND space = :space AND state IN ('leaving', 'removed')")


async def catch_up(database: Database, keyring: Keyring, toolkits: Toolkits) -> int:
    """Write what is missing; of how many videos. One whose model is not there, or gives another space by now, is passed
    over, and looked at again the next time."""
    caught, after = 0, ""
    while True:
        async with database.read(SYSTEM) as session:
            behind = (await execute(session, _BEHIND, after=after, most=_AT_ONCE)).all()
        for video in behind:
            caught += await _caught(database, keyring, toolkits, video.tenant_id, video.id)
            after = video.id
        if len(behind) < _AT_ONCE:
            return caught


async def _caught(database: Database, keyring: Keyring, toolkits: Toolkits, tenant: str, video: str) -> bool:
    try:
        async with database.read(SYSTEM) as session:
            latest = await reports.latest(session, keyring, tenant, video)
        if latest is None:
            return False
        report, index = await _indexed(latest, toolkits)
    except (VideoError, msgspec.DecodeError) as error:
        _LOG.info("%s is not found by searches yet: %s", video, error)
        return False
    if index is None:
        return False
    async with database.write("search.catch_up", SYSTEM) as session:
        if not await is_still_latest(session, video, latest.job_id):
            return False
        # Somebody wanted it gone; a new job may bring it back.
        if (await execute(session, _REMOVED, tenant=tenant, space=index.space)).one_or_none() is not None:
            return False
        await write_report_tags(session, tenant, video, report)
        await write_vectors(session, tenant, video, index)
    return True


async def _indexed(kept: KeptReport, toolkits: Toolkits) -> tuple[Report, Index | None]:
    report = await asyncio.to_thread(kept.report)
    stored = report.features.embeddings
    if stored is None:
        return report, None
    encoder = (await toolkits.get(report.spec.model)).encoder
    if encoder.info.space != stored.space:
        return report, None
    return report, await asyncio.to_thread(index_of, report, encoder.likelihood)
