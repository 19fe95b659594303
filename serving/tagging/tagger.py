"""The worker's side: tags videos whose vectors are new, carries runs on page by page, and learns. Beside jobs, one
thing at a time; while jobs run, it rests as long as it works."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.errors import EngineUnavailable, VideoError
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.db.vocabularies import Vocabulary
from serving.errors import DatabaseUnavailable, LeaseLost, ServerError
from serving.faults import Faults
from serving.jobs.lease import Problem
from serving.jobs.listening import Listener
from serving.jobs.running import AWAY_S, Toolkits
from serving.tagging import phrases, runs
from serving.tagging.deriving import labels_of
from serving.tagging.learner import Learner
from serving.tagging.retagging import Changes, Page, page_after, retag, some
from serving.tagging.runs import Claim
from serving.tagging.spaces import active_space
from serving.tagging.standing import Standing, standing, texts_of
from serving.tagging.writing import TAGGING_CHANNEL

_LOG = logging.getLogger(__name__)

#: How often is looked without a notice, seconds.
POLL_S: Final = 1.0

#: How long a worker may be silent before somebody else carries its run on, seconds: many times a page.
LEASE_S: Final = 30.0

#: How long videos wait whose model was not there, seconds.
_LATER_S: Final = 30.0

#: Videos with new vectors that are looked at in one transaction.
_AT_ONCE: Final = 10

#: Videos that are named of those that gained or lost a tag.
_NAMED: Final = 20

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
_CAME = text(
    """
    UPDATE tagging SET done = done + :done, changed = changed + :changed, gained = gained + :gained,
        lost = lost + :lost, cursor = :cursor, attempt = 0, lease_until = now() + make_interval(secs => :lease_s)
    WHERE tenant_id = :tenant AND id = :id
    """
)
_LEARNT = text(
    """
    UPDATE learned_label SET gained = gained + :gained, lost = lost + :lost,
        gained_videos = (gained_videos || cast(:gained_videos AS text[]))[1 : :named],
        lost_videos = (lost_videos || cast(:lost_videos AS text[]))[1 : :named]
    WHERE tenant_id = :tenant AND id = :id
    """
)


class Tagger:
    """Tags and learns for as long as a worker works."""

    def __init__(
        self,
        database: Database,
        toolkits: Toolkits,
        listener: Listener | None = None,
        *,
        worker: str = "worker",
        busy: Callable[[], int] = lambda: 0,
        lease_s: float = LEASE_S,
        learner: Learner | None = None,
    ) -> None:
        """
        Args:
            listener: hears `TAGGING_CHANNEL`.
            busy: jobs that the worker runs.
            learner: None: one that waits as long as it does by itself.
        """
        self._database, self._toolkits, self._listener = database, toolkits, listener
        self._worker, self._busy, self._lease_s = worker, busy, lease_s
        self._learner = learner or Learner(database, toolkits)
        self._run: tuple[Claim, Standing] | None = None

    async def serve(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; a run that is under way is left to others."""
        faults = Faults("videos are tagged anew")
        while not stop.is_set():
            began, did = time.monotonic(), False
            with faults.borne():
                did = await self.step()
            if did:
                # What jobs need goes first.
                await asyncio.sleep(time.monotonic() - began if self._busy() else 0.0)
            else:
                await self._wait(stop)
        if self._run is not None:
            with faults.borne(), contextlib.suppress(LeaseLost):
                await runs.give_back(self._database, self._run[0], wait_s=0.0)

    async def step(self) -> bool:
        """Do one thing that there is to do; whether there was one."""
        return await self._new_videos() or await self._a_page() or await self._learner.step()

    async def _wait(self, stop: asyncio.Event) -> None:
        waits = [asyncio.create_task(stop.wait())]
        if self._listener is not None:
            waits.append(asyncio.create_task(self._listener.wait(TAGGING_CHANNEL)))  # type: ignore[arg-type]
        try:
            await asyncio.wait(waits, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # --- videos whose vectors are new -------------------------------------------------------------------------------

    async def _new_videos(self) -> bool:
        async with self._database.read(SYSTEM) as session:
            due = (await execute(session, _DUE, most=_AT_ONCE)).all()
        if not due:
            return False
        tenant, videos = due[0].tenant_id, [row.video_id for row in due]
        try:
            await self._ask_for_all(tenant)
            async with self._database.write("tagging.new", SYSTEM) as session:
                await self._tag_new(session, tenant, videos)
        except (VideoError, ServerError) as error:
            if isinstance(error, DatabaseUnavailable):
                raise
            # The model is away or another one. What was analysed stays, and its tags come once the model is there.
            _LOG.info("%d videos are not tagged yet: %s", len(videos), error)
            async with self._database.write("tagging.new", SYSTEM) as session:
                await execute(session, _LATER, tenant=tenant, videos=videos, wait_s=_LATER_S)
        return True

    async def _ask_for_all(self, tenant: str) -> None:
        async with self._database.read(tenant) as session:
            space = await active_space(session, tenant)
            rows = await _applied(session, tenant)
        if space is not None:
            texts = [one for row in rows for one in texts_of(labels_of(row), space)]
            await phrases.ask(self._database, self._toolkits, tenant, space, texts)

    async def _tag_new(self, session: AsyncSession, tenant: str, videos: list[str]) -> None:
        # Locked, so that who replaces one, or learns for it, waits, and then begins a run that sees these videos.
        rows = await _applied(session, tenant, lock=True)
        space = await active_space(session, tenant)
        # Videos before what is noted of them: in the order of whoever ends a job.
        page = await some(session, tenant, videos)
        taken = (await execute(session, _TAKE, tenant=tenant, videos=list(page.durations_s))).scalars().all()
        page = Page({video: page.durations_s[video] for video in taken}, last=True)
        for row in rows if space is not None else ():
            assert space is not None
            how = await standing(session, tenant, row.id, labels_of(row), space)
            if how is None:
                # Replaced since its words were asked for: the next turn asks again.
                return
            await retag(session, how, page)
        await execute(session, _DONE, tenant=tenant, videos=list(taken))

    # --- runs over a library ----------------------------------------------------------------------------------------

    async def _a_page(self) -> bool:
        run = self._run and self._run[0]
        try:
            if self._run is None:
                run = await runs.claim(self._database, self._worker, self._lease_s)
                if run is None:
                    return False
                self._run = await self._begun(run)
            if self._run is not None and await self._carried_on(*self._run):
                self._run = None
        except LeaseLost:
            # Somebody else carries it on, or nobody wants it any more.
            self._run = None
        except DatabaseUnavailable:
            self._run = None
            raise
        except Exception as error:  # noqa: BLE001 - costs this run an attempt, and nobody else anything
            self._run = None
            assert run is not None
            await self._failed(run, error)
        return True

    async def _begun(self, run: Claim) -> tuple[Claim, Standing] | None:
        """What its tags are made with; None where nothing is there to be tagged."""
        async with self._database.read(run.tenant_id) as session:
            space = await active_space(session, run.tenant_id)
            row = await session.get(Vocabulary, run.vocabulary_id)
        if row is None:
            raise LeaseLost("the vocabulary was deleted meanwhile")
        if space is None:
            await runs.end(self._database, run)
            return None
        labels = labels_of(row)
        asked = await phrases.ask(self._database, self._toolkits, run.tenant_id, space, texts_of(labels, space))
        cursor = await runs.begun(self._database, run, space.space, asked)
        async with self._database.read(run.tenant_id) as session:
            how = await standing(session, run.tenant_id, row.id, labels, space)
        if how is None:
            raise LeaseLost("texts of the vocabulary were forgotten meanwhile")
        return Claim(run.id, run.tenant_id, run.vocabulary_id, run.fence, run.attempt, space.space, cursor), how

    async def _carried_on(self, run: Claim, how: Standing) -> bool:
        """Tag the next videos; whether that were the last ones."""
        async with self._database.write("tagging.page", SYSTEM) as session:
            cursor = await runs.hold(session, run)
            page = await page_after(session, run.tenant_id, how.space.space, cursor)
            changes = await retag(session, how, page)
            await self._note(session, run, how, changes, list(page.durations_s), cursor)
            if page.last:
                await runs.succeed(session, run)
        return page.last

    async def _note(
        self, session: AsyncSession, run: Claim, how: Standing, changes: Changes, videos: list[str], cursor: str
    ) -> None:
        await execute(
            session,
            _CAME,
            **run.this,
            done=len(videos),
            changed=changes.changed,
            gained=sum(map(len, changes.gained.values())),
            lost=sum(map(len, changes.lost.values())),
            cursor=videos[-1] if videos else cursor,
            lease_s=self._lease_s,
        )
        for label, learned in how.learned.items():
            gained, lost = changes.gained.get(label, []), changes.lost.get(label, [])
            if gained or lost:
                counts = {"gained": len(gained), "lost": len(lost), "named": _NAMED}
                named = {"gained_videos": gained, "lost_videos": lost}
                await execute(session, _LEARNT, tenant=run.tenant_id, id=learned, **counts, **named)

    async def _failed(self, run: Claim, error: Exception) -> None:
        try:
            if isinstance(error, EngineUnavailable):
                await runs.give_back(self._database, run, wait_s=AWAY_S)
            elif isinstance(error, VideoError | ServerError):
                problem = Problem(code=error.code, detail=str(error), retryable=error.retryable)
                await runs.end(self._database, run, problem)
            else:
                _LOG.error("a tagging failed", exc_info=error)
                detail = f"a fault of the server: {type(error).__name__}"
                problem = Problem(code="internal_error", detail=detail, retryable=True)
                await runs.give_back(self._database, run, problem)
        except LeaseLost:
            return


async def _applied(session: AsyncSession, tenant: str, *, lock: bool = False) -> list[Vocabulary]:
    query = select(Vocabulary).where(Vocabulary.tenant_id == tenant, col(Vocabulary.applied_at).is_not(None))
    query = query.order_by(Vocabulary.id)
    return list((await session.exec(query.with_for_update(read=True) if lock else query)).all())
