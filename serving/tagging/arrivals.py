"""Videos whose vectors are new are tagged by all vocabularies that stand."""

import logging
from collections.abc import Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.errors import VideoError
from serving.db.database import SYSTEM, Database
from serving.db.search import Space
from serving.db.statements import execute
from serving.db.vocabularies import Vocabulary
from serving.errors import DatabaseUnavailable, ServerError
from serving.jobs.lease import backoff_s
from serving.jobs.running import Toolkits
from serving.search.spaces import active_space
from serving.tagging import phrases
from serving.tagging.deriving import labels_of
from serving.tagging.retagging import Page, retag, some
from serving.tagging.standing import standing, texts_of

_LOG = logging.getLogger(__name__)

#: How long videos wait whose model was not there, seconds.
_LATER_S: Final = 30.0

#: Videos with new vectors that are looked at in one transaction.
_AT_ONCE: Final = 10

_DUE = text(
    """
    SELECT video_id, tenant_id FROM untagged WHERE tenant_id = (
        SELECT tenant_id FROM untagged WHERE run_after <= now() ORDER BY run_after LIMIT 1
    ) AND run_after <= now() ORDER BY run_after LIMIT :most
    """
)
_TAKE = text(
    """
    SELECT video_id FROM untagged WHERE tenant_id = :tenant AND video_id = ANY(:videos)
    ORDER BY video_id FOR UPDATE SKIP LOCKED
    """
)
_DONE = text("DELETE FROM untagged WHERE tenant_id = :tenant AND video_id = ANY(:videos)")
_LATER = text(
    "UPDATE untagged SET run_after = now() + make_interval(secs => :wait_s) "
    "WHERE tenant_id = :tenant AND video_id = ANY(:videos)"
)


class _Again(Exception):
    """A vocabulary was replaced since its words were asked for: the next turn asks again."""


class Arrivals:
    """Of a worker."""

    def __init__(self, database: Database, toolkits: Toolkits) -> None:
        self._database, self._toolkits = database, toolkits
        # Tenant -> how often in a row something went wrong: they wait the longer, and others do not wait for them.
        self._failed: dict[str, int] = {}

    async def step(self) -> bool:
        """Tag the videos of one tenant that are due; whether there were any."""
        async with self._database.read(SYSTEM) as session:
            due = (await execute(session, _DUE, most=_AT_ONCE)).all()
        if not due:
            return False
        tenant, videos = due[0].tenant_id, [row.video_id for row in due]
        try:
            await self._ask_for_all(tenant)
            async with self._database.write("tagging.new", SYSTEM) as session:
                await self._tag(session, tenant, videos)
        except DatabaseUnavailable:
            raise
        except (VideoError, ServerError) as error:
            # The model is away or another one. What was analysed stays, and its tags come once the model is there.
            _LOG.info("%d videos are not tagged yet: %s", len(videos), error)
            await self._later(tenant, videos, _LATER_S)
        except _Again:
            return True
        except Exception:  # noqa: BLE001 - costs these videos a wait, and nobody else anything
            _LOG.exception("%d videos are not tagged yet", len(videos))
            await self._later(tenant, videos, self._wait_s(tenant))
        return True

    def _wait_s(self, tenant: str) -> float:
        self._failed[tenant] = self._failed.get(tenant, 0) + 1
        return backoff_s(self._failed[tenant])

    async def _later(self, tenant: str, videos: Sequence[str], wait_s: float) -> None:
        async with self._database.write("tagging.new", SYSTEM) as session:
            await execute(session, _LATER, tenant=tenant, videos=list(videos), wait_s=wait_s)

    async def _ask_for_all(self, tenant: str) -> None:
        async with self._database.read(tenant) as session:
            space = await active_space(session, tenant)
            rows = await _applied(session, tenant)
        if space is not None:
            texts = [one for row in rows for one in texts_of(labels_of(row), space)]
            await phrases.ask(self._database, self._toolkits, tenant, space, texts)

    async def _tag(self, session: AsyncSession, tenant: str, videos: list[str]) -> None:
        # Locked, so that who replaces one, or learns for it, waits, and then begins a run that sees these videos.
        rows = await _applied(session, tenant, lock=True)
        space = await active_space(session, tenant)
        # Videos before what is noted of them: in the order of whoever ends a job.
        page = await some(session, tenant, videos)
        taken = (await execute(session, _TAKE, tenant=tenant, videos=list(page.durations_s))).scalars().all()
        page = Page({video: page.durations_s[video] for video in taken}, last=True)
        failed: set[str] = set()
        for row in rows if space is not None else ():
            assert space is not None
            failed |= await _tagged(session, tenant, row, space, page)
        await execute(session, _DONE, tenant=tenant, videos=[one for one in taken if one not in failed])
        if failed:
            await execute(session, _LATER, tenant=tenant, videos=sorted(failed), wait_s=self._wait_s(tenant))
        else:
            self._failed.pop(tenant, None)


async def _tagged(session: AsyncSession, tenant: str, row: Vocabulary, space: Space, page: Page) -> set[str]:
    """Tag by one vocabulary; the videos with which that went wrong, which cost others nothing."""
    if await _went(session, tenant, row, space, page):
        return set()
    alone = [Page({video: page.durations_s[video]}, last=True) for video in page.durations_s]
    if len(alone) == 1:
        return set(page.durations_s)
    return {video for one in alone if not await _went(session, tenant, row, space, one) for video in one.durations_s}


async def _went(session: AsyncSession, tenant: str, row: Vocabulary, space: Space, page: Page) -> bool:
    # Read here: what is undone is also what is known of rows.
    which, labels = row.id, labels_of(row)
    try:
        async with session.begin_nested():
            how = await standing(session, tenant, which, labels, space)
            if how is None:
                raise _Again
            await retag(session, how, page)
    except (_Again, SQLAlchemyError, OSError, TimeoutError):
        # Not of this vocabulary alone.
        raise
    except Exception:  # noqa: BLE001 - costs these videos the tags of this vocabulary, for now
        _LOG.exception("%d videos are not tagged by vocabulary %s yet", len(page.durations_s), which)
        return False
    return True


async def _applied(session: AsyncSession, tenant: str, *, lock: bool = False) -> list[Vocabulary]:
    query = select(Vocabulary).where(Vocabulary.tenant_id == tenant, col(Vocabulary.applied_at).is_not(None))
    query = query.order_by(Vocabulary.id)
    return list((await session.exec(query.with_for_update(read=True) if lock else query)).all())
