"""Puts videos into spaces that they are not in yet: the worker's side of a change of models. One video at a time and
only while no job waits; each is written whole, in one transaction, so that whoever is killed over one loses no other.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.analyze import analyze
from pipeline.errors import CorruptVideo, EngineUnavailable, ModelReplaced, ModelUnavailable, VideoError
from pipeline.indexing import Index, index_of
from pipeline.report import Report
from pipeline.spec import SegmentSpec
from serving.claiming import Bounds, Claimer, told
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.errors import (
    DatabaseUnavailable,
    LeaseLost,
    MasterKeyMissing,
    ServerError,
    SpaceMismatch,
    StorageUnavailable,
)
from serving.jobs.lease import Problem
from serving.jobs.running import Toolkits
from serving.options import JOB_OPTIONS
from serving.problems import for_callers
from serving.search import spaces
from serving.search.latest import is_still_latest
from serving.search.writing import write_vectors
from serving.storage import reports
from serving.storage.opening import opened
from serving.storage.store import Store

_LOG = logging.getLogger(__name__)

#: How long one may be silent before its video is anybody's, seconds.
LEASE_S: Final = 60.0

#: How often is looked for videos that lack a space and that nobody noted, seconds.
LOOK_S: Final = 10.0

#: Waits after an attempt that failed, seconds; after the last one fails, the video is given up.
RETRY_AFTER_S: Final = (30.0, 300.0, 1800.0)

#: Wait while the model of the space is not to be had, seconds; that gives up nothing. And while nothing runs it.
AWAY_S, ENGINE_AWAY_S = 60.0, 6.0

#: Of what analyses find, vectors alone are wanted.
_NO_SEGMENTS: Final = SegmentSpec(max_segments=1)

#: Some that are due, of tenants in turn: a large library keeps nobody else waiting. Jobs come first: while one waits,
#: nothing is taken on.
_CLAIM = text(
    """
    WITH due AS MATERIALIZED (
        SELECT waiting.space, waiting.video_id FROM (
            SELECT t.id FROM tenant t
            WHERE t.id <> ALL(cast(:busy AS text[]))
                AND EXISTS (SELECT FROM space_due d WHERE d.tenant_id = t.id AND d.next_at <= now())
                AND NOT EXISTS (SELECT FROM job j WHERE j.state = 'queued' AND j.run_after <= now())
            ORDER BY random()
        ) tenant CROSS JOIN LATERAL (
            SELECT d.space, d.video_id FROM space_due d
            JOIN space s ON s.tenant_id = d.tenant_id AND s.space = d.space
            WHERE d.tenant_id = tenant.id AND d.next_at <= now() AND (s.retry_at IS NULL OR s.retry_at <= now())
            ORDER BY d.next_at LIMIT 1 FOR UPDATE OF d SKIP LOCKED
        ) waiting
        LIMIT :most
    )
    UPDATE space_due d SET fence = d.fence + 1, attempts = d.attempts + 1,
        next_at = now() + make_interval(secs => :lease_s)
    FROM due, space s, video v
    WHERE d.space = due.space AND d.video_id = due.video_id
        AND s.tenant_id = d.tenant_id AND s.space = d.space AND v.id = d.video_id
    RETURNING d.tenant_id, d.space, d.video_id, d.fence, d.attempts AS attempt, s.model, v.object_key
    """
)
_RENEW = text(
    """
    UPDATE space_due SET next_at = now() + make_interval(secs => :lease_s)
    WHERE space = :space AND video_id = :video AND fence = :fence RETURNING 1
    """
)
_HOLD = text("SELECT 1 FROM space_due WHERE space = :space AND video_id = :video AND fence = :fence FOR UPDATE")
_LATER = text(
    """
    UPDATE space_due SET error = cast(:error AS jsonb),
        next_at = CASE WHEN :gone THEN 'infinity' ELSE now() + make_interval(secs => :wait_s) END
    WHERE space = :space AND video_id = :video AND fence = :fence
    """
)

#: What was not finished costs no attempt.
_BACK = text(
    """
    UPDATE space_due SET attempts = attempts - 1, next_at = now()
    WHERE space = :space AND video_id = :video AND fence = :fence
    """
)

#: Of the whole space: each of its videos would say the same.
_AWAY = text(
    """
    UPDATE space SET retry_at = now() + make_interval(secs => :wait_s), error = cast(:error AS jsonb)
    WHERE tenant_id = :tenant AND space = :space
    """
)
_THERE = text(
    "UPDATE space SET retry_at = NULL, error = NULL "
    "WHERE tenant_id = :tenant AND space = :space AND retry_at IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A video that somebody puts into a space."""

    tenant_id: str
    space: str
    video_id: str
    fence: int
    """Nobody else has the same."""
    attempt: int
    """Counts from 1."""
    model: str
    """Of the space."""
    object_key: str


class Filler:
    """Fills spaces. As many as one likes may do so at once, in any process."""

    def __init__(self, database: Database, store: Store, toolkits: Toolkits, *, lease_s: float = LEASE_S) -> None:
        self._database, self._store, self._toolkits = database, store, toolkits
        self._lease_s = lease_s
        self._look_at = 0.0

    async def serve(self, stop: asyncio.Event) -> None:
        """Fill until `stop` is set; what takes longer than some seconds then is left to the next."""
        await Claimer(self, Bounds(slots=1, per_owner=1)).serve(stop)

    async def claim(self, most: int, busy: Sequence[str]) -> list[Claim]:
        """See `Claims.claim`."""
        found = await self._claim(most, busy)
        if not found and time.monotonic() > self._look_at:
            # What was analysed meanwhile, and what nobody could note.
            self._look_at = time.monotonic() + LOOK_S
            async with self._database.write("space.lack", SYSTEM) as session:
                await spaces.lack(session, None)
            found = await self._claim(most, busy)
        return found

    def owner(self, claim: Claim, /) -> str:
        """See `Claims.owner`."""
        return claim.tenant_id

    async def work(self, claim: Claim, /) -> None:
        """See `Claims.work`."""
        try:
            if claim.attempt > len(RETRY_AFTER_S) + 1:
                died = Problem(code="quarantined", detail="nobody who began to put it there was heard of again")
                await self._later(claim, died, None)
                return
            await told(self._fill(claim), self._tell(claim))
        except asyncio.CancelledError:
            # If that fails, too, it is somebody's once the lease is over.
            with contextlib.suppress(DatabaseUnavailable):
                await self._give_back(claim)
            raise
        except LeaseLost as error:
            _LOG.info("%s", error)
        except DatabaseUnavailable:
            _LOG.info("%s is left until its lease is over: the database cannot be reached", claim.video_id)
        except ModelReplaced:
            await self._give_back(claim)
        except EngineUnavailable as error:
            await self._away(claim, error, ENGINE_AWAY_S)
        except (ModelUnavailable, SpaceMismatch, MasterKeyMissing, StorageUnavailable) as error:
            await self._away(claim, error, AWAY_S)
        except VideoError as error:
            wait_s = _waits(claim) if error.retryable else None
            await self._later(claim, Problem(code=error.code, detail=str(error)), wait_s)
        except TimeoutError:
            detail = f"not done within {JOB_OPTIONS.timeout_s:g} s"
            await self._later(claim, Problem(code="deadline_exceeded", detail=detail), _waits(claim))
        except Exception as error:  # noqa: BLE001 - a fault of ours costs this video an attempt, and no other anything
            _LOG.exception("%s is not in %s", claim.video_id, claim.space)
            detail = f"a fault of the server: {type(error).__name__}"
            await self._later(claim, Problem(code="internal_error", detail=detail), _waits(claim))

    async def _claim(self, most: int, busy: Sequence[str]) -> list[Claim]:
        values = {"most": most, "busy": list(busy), "lease_s": self._lease_s}
        async with self._database.write("space.claim", SYSTEM) as session:
            return [Claim(**row) for row in (await execute(session, _CLAIM, **values)).mappings()]

    async def _fill(self, claim: Claim) -> None:
        """Raises LeaseLost, SpaceMismatch, and VideoError as the analysis does."""
        async with self._database.read(claim.tenant_id) as session:
            latest = await reports.latest(session, self._store.keyring, claim.tenant_id, claim.video_id)
        if latest is None:
            raise LeaseLost(f"{claim.video_id} has no report any more")
        async with asyncio.timeout(JOB_OPTIONS.timeout_s):
            index = await self._seen(claim, await asyncio.to_thread(latest.report))
        if index is None:
            raise CorruptVideo("its frames gave no vectors")
        async with self._database.write("space.fill", claim.tenant_id) as session:
            still = await is_still_latest(session, claim.video_id, latest.job_id)
            await _hold(session, claim)
            if not still:
                raise LeaseLost(f"{claim.video_id} was analysed anew meanwhile")
            # With it goes what was due.
            await write_vectors(session, claim.tenant_id, claim.video_id, index)
            await execute(session, _THERE, tenant=claim.tenant_id, space=claim.space)

    async def _seen(self, claim: Claim, report: Report) -> Index | None:
        """The report as it is found in the space: its shots and segments, by vectors of the space's model."""
        toolkit = await self._toolkits.get(claim.model)
        if toolkit.encoder.info.space != claim.space:
            raise SpaceMismatch(
                f"{claim.model} gives vectors of the space {toolkit.encoder.info.space} by now: the space "
                f"{claim.space} cannot be filled until its model is back"
            )
        spec = msgspec.structs.replace(
            report.spec, model=claim.model, models=(), labels=(), shots=False, segments=_NO_SEGMENTS
        )
        async with opened(self._database, self._store, claim.tenant_id, claim.object_key) as file:
            new = await analyze(file, spec, toolkit)
        embeddings = msgspec.structs.replace(report.features, embeddings=new.features.embeddings)
        merged = msgspec.structs.replace(report, spec=spec, features=embeddings)
        return await asyncio.to_thread(index_of, merged, toolkit.encoder.likelihood)

    async def _tell(self, claim: Claim) -> None:
        """Says that somebody is at it, until it is canceled. Raises LeaseLost."""
        while True:
            await asyncio.sleep(self._lease_s / 4)
            # Whoever has it by the time the database is back is found out by the next.
            with contextlib.suppress(DatabaseUnavailable):
                async with self._database.write("space.renew", claim.tenant_id) as session:
                    if (await execute(session, _RENEW, **_held(claim), lease_s=self._lease_s)).one_or_none() is None:
                        raise _lost(claim)

    async def _later(self, claim: Claim, problem: Problem, wait_s: float | None) -> None:
        """`wait_s`: None: it is given up."""
        values = {"error": _said(problem), "wait_s": wait_s or 0.0, "gone": wait_s is None}
        async with self._database.write("space.later", claim.tenant_id) as session:
            await execute(session, _LATER, **_held(claim), **values)

    async def _give_back(self, claim: Claim) -> None:
        async with self._database.write("space.later", claim.tenant_id) as session:
            await execute(session, _BACK, **_held(claim))

    async def _away(self, claim: Claim, error: VideoError | ServerError, wait_s: float) -> None:
        if isinstance(error, StorageUnavailable):
            _LOG.warning("%s is not in %s yet: %s", claim.video_id, claim.space, error)
        problem = Problem(code=error.code, detail=for_callers(error))
        async with self._database.write("space.later", claim.tenant_id) as session:
            await execute(session, _BACK, **_held(claim))
            await execute(
                session, _AWAY, tenant=claim.tenant_id, space=claim.space, error=_said(problem), wait_s=wait_s
            )


def _waits(claim: Claim) -> float | None:
    """Until the next attempt after this one failed, seconds; None: there is none."""
    return RETRY_AFTER_S[claim.attempt - 1] if claim.attempt <= len(RETRY_AFTER_S) else None


def _said(problem: Problem) -> str:
    return msgspec.json.encode(problem.told()).decode()


async def _hold(session: AsyncSession, claim: Claim) -> None:
    if (await execute(session, _HOLD, **_held(claim))).one_or_none() is None:
        raise _lost(claim)


def _lost(claim: Claim) -> LeaseLost:
    return LeaseLost(f"{claim.video_id} in {claim.space} is not ours any more")


def _held(claim: Claim) -> dict[str, str | int]:
    return {"space": claim.space, "video": claim.video_id, "fence": claim.fence}
