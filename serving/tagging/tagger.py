"""The worker's side: tags videos whose vectors are new, carries runs on page by page, and learns. Beside jobs, one
thing at a time; while jobs run, it rests as long as it works."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import text
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
from serving.search.spaces import active_space
from serving.tagging import phrases, runs
from serving.tagging.arrivals import Arrivals
from serving.tagging.deriving import labels_of
from serving.tagging.learner import Learner
from serving.tagging.retagging import Changes, page_after, retag
from serving.tagging.runs import Claim
from serving.tagging.standing import Standing, standing, texts_of
from serving.tagging.writing import TAGGING_CHANNEL

_LOG = logging.getLogger(__name__)

#: How often is looked without a notice, seconds.
POLL_S: Final = 1.0

#: How long a worker may be silent before somebody else carries its run on, seconds: many times a page.
LEASE_S: Final = 30.0

#: Videos that are named of those that gained or lost a tag.
_NAMED: Final = 20

_CAME = text(
    """
    UPDATE tagging SET done = done + :done, changed = changed + :changed, gained = gained + :gained,
        lost = lost + :lost, cursor = :cursor, attempt = 0, lease_until = now() + make_interval(secs => :lease_s)
    WHERE tenant_id = :tenant AND id = :id
    """
)
#: Of the run that began as it was learnt, or of one for another label that took its place before it was over: what
#: changes later, or by another hand, is not by what was learnt.
_LEARNT = text(
    """
    UPDATE learned_label SET gained = gained + :gained, lost = lost + :lost,
        gained_videos = (gained_videos || cast(:gained_videos AS text[]))[1 : :named],
        lost_videos = (lost_videos || cast(:lost_videos AS text[]))[1 : :named]
    WHERE tenant_id = :tenant AND id = :id
        AND EXISTS (
            SELECT FROM tagging WHERE id = :run AND reason = 'learned' AND created_at >= learned_label.created_at)
        AND NOT EXISTS (
            SELECT FROM tagging WHERE vocabulary_id = learned_label.vocabulary_id AND id <> :run
            AND state = 'succeeded' AND created_at >= learned_label.created_at)
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
        self._arrivals = Arrivals(database, toolkits)
        self._run: tuple[Claim, Standing] | None = None
        # Whether the last thing was a page of a run.
        self._paged = False

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
        """Do one thing that there is to do; whether there was one. Pages and labels take turns: a run over a large
        library does not keep others from being learnt for."""
        if await self._arrivals.step():
            return True
        turns = (self._learner.step, self._a_page) if self._paged else (self._a_page, self._learner.step)
        for turn in turns:
            if await turn():
                self._paged = turn == self._a_page
                return True
        return False

    async def _wait(self, stop: asyncio.Event) -> None:
        waits = [asyncio.create_task(stop.wait())]
        if self._listener is not None:
            waits.append(asyncio.create_task(self._listener.wait(TAGGING_CHANNEL)))  # type: ignore[arg-type]
        try:
            await asyncio.wait(waits, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

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
            page = await page_after(session, how, cursor)
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
            # A video that came meanwhile has the tag whatever was learnt.
            gained = [video for video in changes.gained.get(label, []) if video not in changes.new]
            lost = changes.lost.get(label, [])
            if gained or lost:
                counts = {"gained": len(gained), "lost": len(lost), "named": _NAMED}
                named = {"gained_videos": gained, "lost_videos": lost}
                await execute(session, _LEARNT, tenant=run.tenant_id, id=learned, run=run.id, **counts, **named)

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
