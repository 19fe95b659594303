"""Puts videos into spaces that they are not in yet: the worker's side of a change of models. One video at a time and
only while no job waits; each is written whole, in one transaction, so that whoever is killed over one loses no other.
"""

import asyncio
import contextlib
import logging
import time
import zlib
from collections.abc import AsyncIterator, Sequence
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
from serving.claiming import Bounds, Claimer
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.errors import DatabaseUnavailable, LeaseLost, MasterKeyMissing, SpaceMismatch
from serving.jobs.lease import Problem
from serving.jobs.running import Toolkits
from serving.search import spaces
from serving.search.writing import write_vectors
from serving.storage.opening import opened
from serving.storage.store import Store

_LOG = logging.getLogger(__name__)

#: How long one may be silent before its video is anybody's, seconds.
LEASE_S: Final = 60.0

#: How often is looked for videos that lack a space and that nobody noted, seconds.
LOOK_S: Final = 10.0

#: Waits after an attempt that failed, seconds; after the last one fails, the video is given up.
RETRY_AFTER_S: Final = (30.0, 300.0, 1800.0)

#: Wait while the model of the space is not to be had, seconds; that gives up nothing.
AWAY_S: Final = 60.0

#: Of what analyses find, vectors alone are wanted.
_NO_SEGMENTS: Final = SegmentSpec(max_segments=1)

#: Jobs come first: while one waits, nothing is taken on.
_CLAIM = text(
    """
    UPDATE space_due d SET fence = d.fence + 1, next_at = now() + make_interval(secs => :lease_s)
    FROM space s, video v
    WHERE (d.space, d.video_id) = (
        SELECT w.space, w.video_id FROM space_due w WHERE w.next_at <= now()
            AND NOT EXISTS (SELECT FROM job j WHERE j.state = 'queued' AND j.run_after <= now())
        ORDER BY w.next_at LIMIT 1 FOR UPDATE SKIP LOCKED
    ) AND s.tenant_id = d.tenant_id AND s.space = d.space AND v.id = d.video_id
    RETURNING d.tenant_id, d.space, d.video_id, d.fence, d.attempts, s.model, v.object_key
    """
)
_RENEW = text(
    """
    UPDATE space_due SET next_at = now() + make_interval(secs => :lease_s)
    WHERE space = :space AND video_id = :video AND fence = :fence RETURNING 1
    """
)
_HOLD = text("SELECT 1 FROM space_due WHERE space = :space AND video_id = :video AND fence = :fence FOR UPDATE")
_DONE = text("DELETE FROM space_due WHERE space = :space AND video_id = :video")
_LATER = text(
    """
    UPDATE space_due SET attempts = attempts + :failed, error = cast(:error AS jsonb),
        next_at = CASE WHEN :gone THEN 'infinity' ELSE now() + make_interval(secs => :wait_s) END
    WHERE space = :space AND video_id = :video AND fence = :fence
    """
)
_LATEST = text("SELECT job_id, body FROM report WHERE video_id = :video ORDER BY created_at DESC LIMIT 1")
_LOCKED = text("SELECT FROM video WHERE id = :video FOR UPDATE")
_STILL = text("SELECT job_id FROM report WHERE video_id = :video ORDER BY created_at DESC LIMIT 1")


@dataclass(frozen=True, slots=True)
class Claim:
    """A video that somebody puts into a space."""

    tenant_id: str
    space: str
    video_id: str
    fence: int
    """Nobody else has the same."""
    attempts: int
    """That failed."""
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
        found = await self._claim()
        if not found and time.monotonic() > self._look_at:
            # What was analysed meanwhile, and what nobody could note.
            self._look_at = time.monotonic() + LOOK_S
            async with self._database.write("space.lack", SYSTEM) as session:
                await spaces.lack(session, None)
            found = await self._claim()
        return found

    def owner(self, claim: Claim, /) -> str:
        """See `Claims.owner`."""
        return claim.tenant_id

    async def work(self, claim: Claim, /) -> None:
        """See `Claims.work`."""
        try:
            async with self._renewed(claim):
                await self._fill(claim)
        except asyncio.CancelledError:
            # If that fails, too, it is somebody's once the lease is over.
            with contextlib.suppress(DatabaseUnavailable):
                await self._later(claim, None, 0.0)
            raise
        except LeaseLost as error:
            _LOG.info("%s", error)
        except (EngineUnavailable, ModelReplaced, MasterKeyMissing):
            await self._later(claim, None, AWAY_S / 10)
        except (ModelUnavailable, SpaceMismatch) as error:
            await self._later(claim, Problem(code=error.code, detail=str(error)), AWAY_S)
        except VideoError as error:
            waits = dict(enumerate(RETRY_AFTER_S))
            wait_s = waits.get(claim.attempts) if error.retryable else None
            await self._later(claim, Problem(code=error.code, detail=str(error)), wait_s, failed=True)

    async def _claim(self) -> list[Claim]:
        async with self._database.write("space.claim", SYSTEM) as session:
            return [Claim(**row) for row in (await execute(session, _CLAIM, lease_s=self._lease_s)).mappings()]

    async def _fill(self, claim: Claim) -> None:
        """Raises LeaseLost, SpaceMismatch, and VideoError as the analysis does."""
        async with self._database.read(claim.tenant_id) as session:
            latest = (await execute(session, _LATEST, video=claim.video_id)).one_or_none()
        if latest is None:
            raise LeaseLost(f"{claim.video_id} has no report any more")
        index = await self._seen(claim, await asyncio.to_thread(_decoded, latest.body))
        if index is None:
            raise CorruptVideo("its frames gave no vectors")
        async with self._database.write("space.fill", claim.tenant_id) as session:
            # Who ends a job of the video writes its row, and waits for this, or this for them.
            await execute(session, _LOCKED, video=claim.video_id)
            await _hold(session, claim)
            if (await execute(session, _STILL, video=claim.video_id)).scalar_one_or_none() != latest.job_id:
                raise LeaseLost(f"{claim.video_id} was analysed anew meanwhile")
            await write_vectors(session, claim.tenant_id, claim.video_id, index)
            await execute(session, _DONE, **_this(claim))

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

    @contextlib.asynccontextmanager
    async def _renewed(self, claim: Claim) -> AsyncIterator[None]:
        """Others know that somebody is at it."""
        renewing = asyncio.create_task(self._renew(claim))
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def _renew(self, claim: Claim) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 4)
            # Where that fails, the lease ends, and with it the right to write.
            with contextlib.suppress(DatabaseUnavailable):
                async with self._database.write("space.renew", claim.tenant_id) as session:
                    await execute(session, _RENEW, **_held(claim), lease_s=self._lease_s)

    async def _later(
        self, claim: Claim, problem: Problem | None, wait_s: float | None, *, failed: bool = False
    ) -> None:
        """`wait_s`: None: it is given up."""
        error = None if problem is None else msgspec.json.encode(problem.told()).decode()
        values = {"error": error, "wait_s": wait_s or 0.0, "gone": wait_s is None, "failed": int(failed)}
        async with self._database.write("space.later", claim.tenant_id) as session:
            await execute(session, _LATER, **_held(claim), **values)


def _decoded(body: bytes) -> Report:
    return msgspec.json.decode(zlib.decompress(body), type=Report)


async def _hold(session: AsyncSession, claim: Claim) -> None:
    if (await execute(session, _HOLD, **_held(claim))).one_or_none() is None:
        raise LeaseLost(f"{claim.video_id} in {claim.space} is not ours any more")


def _this(claim: Claim) -> dict[str, str]:
    return {"space": claim.space, "video": claim.video_id}


def _held(claim: Claim) -> dict[str, str | int]:
    return {**_this(claim), "fence": claim.fence}
