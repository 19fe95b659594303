"""One job from its claim to its end."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import msgspec
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.analyze import analyze_with_looks
from pipeline.errors import Altered, EngineUnavailable, InputNotFound, ModelReplaced, VideoError
from pipeline.indexing import Index, index_of
from pipeline.report import Report, VideoInfo
from pipeline.rescore import rescore
from pipeline.spec import AnalysisSpec
from pipeline.toolkit import Toolkit
from pipeline.tracks import Track
from serving.db.copies import VideoLooks
from serving.db.database import SYSTEM
from serving.db.media import Video
from serving.errors import (
    DatabaseUnavailable,
    LeaseLost,
    MasterKeyMissing,
    QuotaExceeded,
    StorageFull,
    StorageUnavailable,
)
from serving.faults import Faults
from serving.jobs import metrics, outcomes
from serving.jobs.checkpointing import CheckpointedEngine
from serving.jobs.lease import Lease, Problem
from serving.jobs.metrics import Metrics
from serving.jobs.progress import LAST_S, Progress
from serving.jobs.queue import Queue
from serving.options import JOB_OPTIONS
from serving.storage import reports
from serving.storage.keyring import Keyring
from serving.storage.opening import opened
from serving.storage.reports import KeptReport
from serving.storage.store import Store
from serving.uploads import minutes

_LOG = logging.getLogger(__name__)

#: How long a job waits that was given back because its engine was away, seconds.
AWAY_S: Final = 5.0

#: How often a job begins anew within an attempt because its model was replaced meanwhile. Models that are replaced stay
#: for those who began with them, so this is for replicas that were lost at the same time.
MAX_BEGINNINGS: Final = 5

#: How long a job waits for its models to be loaded, seconds: ten minutes, for a download is part of it. An engine that
#: is away says so before, see `EngineUnavailable`.
LOADING_S: Final = 600.0


Done = tuple[Report, Metrics, Index | None, Track | None]
"""What comes of a job: its report, how that came about, what it is found by, and what it looks like; None where that is
known from before."""


class Toolkits(Protocol):
    """Loaded models."""

    async def get(self, model: str, also: Sequence[str] = ()) -> Toolkit:
        """What runs the model of this name, one version of it, and others besides.

        Args:
            also: names of those that look on besides.

        Raises:
            ModelUnavailable: one is not there, or cannot be run beside the others.
            EngineUnavailable: there is nothing to run it on just now.
        """
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What a job is run with."""

    queue: Queue
    store: Store
    toolkits: Toolkits
    timeout_s: float = JOB_OPTIONS.timeout_s
    """How long one attempt may take, seconds, where the job does not say."""
    tenant_max_minutes: int = 0
    """What the setting `upload.tenant_max_minutes` says."""


async def run(lease: Lease, tools: Tools, stop: asyncio.Event) -> bool:
    """Work on a job until it ends, is taken away, or `stop` is set: then it is given back. Whether it has a report.

    Whatever happens is written down: nothing is raised but what says that the database is gone, which leaves the job to
    its lease.
    """
    timeout_s = tools.timeout_s if lease.timeout_s is None else lease.timeout_s
    begun = asyncio.Event()
    work = asyncio.create_task(_report(lease, tools, begun))
    ending = asyncio.create_task(stop.wait())
    watching = asyncio.create_task(_watch(lease, tools.queue))
    late = asyncio.create_task(_late(begun, timeout_s))
    try:
        await asyncio.wait({work, ending, watching, late}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return await _conclude(lease, tools.queue, work)
        if watching.done():
            await _stopped(work)
            if watching.result():
                await outcomes.canceled(tools.queue.database, lease)
        elif ending.done():
            await _stopped(work)
            # Where that takes too long, it is somebody's once the lease is over.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_S):
                    await tools.queue.release(lease)
        else:
            await _stopped(work)
            detail = (
                f"not done within {timeout_s:g} s, which is what one attempt may take"
                if begun.is_set()
                else f"its models were not loaded within {LOADING_S:g} s"
            )
            await outcomes.fail(tools.queue.database, lease, Problem(code="deadline_exceeded", detail=detail))
    except LeaseLost:
        # Somebody else goes on with it, or nobody wants it any more: either way it is not ours to write about.
        pass
    finally:
        for task in (work, ending, watching, late):
            task.cancel()
        await asyncio.gather(work, ending, watching, late, return_exceptions=True)
    return False


async def _late(begun: asyncio.Event, timeout_s: float) -> None:
    """Ends when an attempt has taken too long. What an engine takes that has to be started first is no part of it."""
    try:
        async with asyncio.timeout(LOADING_S):
            await begun.wait()
    except TimeoutError:
        return
    await asyncio.sleep(timeout_s)


async def _conclude(lease: Lease, queue: Queue, work: "asyncio.Task[Done]") -> bool:
    """Write down what came of it; whether that is a report."""
    try:
        report, cost, index, looks = work.result()
    except (EngineUnavailable, MasterKeyMissing, StorageUnavailable) as error:
        # Nothing is wrong with it: it goes on where it was once that is there.
        await queue.release(lease, reason=error.code, wait_s=AWAY_S)
    except (VideoError, QuotaExceeded, StorageFull) as error:
        await outcomes.fail(
            queue.database, lease, Problem(code=error.code, detail=str(error), retryable=error.retryable)
        )
    except (LeaseLost, DatabaseUnavailable):
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours costs this job an attempt, and no other job anything
        detail = f"a fault of the server: {type(error).__name__}"
        await outcomes.fail(queue.database, lease, Problem(code="internal_error", detail=detail, retryable=True))
    else:
        try:
            await outcomes.succeed(queue.database, queue.keyring, lease, report, cost, index, looks)
            return True
        except MasterKeyMissing as error:
            await queue.release(lease, reason=error.code, wait_s=AWAY_S)
        except Altered as error:
            await outcomes.fail(queue.database, lease, Problem(code=error.code, detail=str(error)))
    return False


async def _watch(lease: Lease, queue: Queue) -> bool:
    """Renew the lease; ends with True when the job is to be canceled, with False when it is lost."""
    faults = Faults(f"the lease of {lease.job_id} is renewed")
    silent_since = time.monotonic()
    while True:
        try:
            with faults.borne(LeaseLost):
                if await queue.renew(lease):
                    return True
                silent_since = time.monotonic()
        except LeaseLost:
            return False
        # What is wrong may pass before the lease runs out; after that it is no longer ours for certain.
        if time.monotonic() - silent_since > queue.lease_s:
            return False
        await asyncio.sleep(min(queue.lease_s / 6, 1.0))


async def _stopped(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task


async def _report(lease: Lease, tools: Tools, begun: asyncio.Event) -> Done:
    """The report, how it came about, and what it is found by; all of it by one version of the model. `begun`: is set
    once that is there."""
    began = time.monotonic()
    for beginning in range(1, MAX_BEGINNINGS + 1):
        try:
            return await _begun(lease, tools, began, begun)
        except ModelReplaced:
            # What was kept of the other version is not used: it has another name.
            if beginning == MAX_BEGINNINGS:
                raise
    raise AssertionError("unreachable")


async def _begun(lease: Lease, tools: Tools, began: float, begun: asyncio.Event) -> Done:
    """Raises ModelReplaced where the model is another one before the report is done."""
    spec = msgspec.convert(lease.spec, AnalysisSpec)
    toolkit = await tools.toolkits.get(spec.model, spec.models)
    begun.set()
    video, known = await _known(lease, tools.queue, toolkit)
    if known is not None:
        report = await asyncio.to_thread(rescore, known, spec.segments, toolkit.encoder)
        return await _done(report, _metrics(lease, report, began, clips_reused=0, shared=True), toolkit, None)

    async def measure(info: VideoInfo) -> None:
        async with tools.queue.database.write("job.measure", SYSTEM) as session:
            most = tools.tenant_max_minutes
            refused = await minutes.measured(session, lease.tenant_id, video.id, info.duration_s, most)
        if refused is not None:
            raise refused

    known_clips = await tools.queue.checkpoints(lease)
    engine = CheckpointedEngine(toolkit.engine, known_clips, toolkit.identity)
    of_video = opened(tools.queue.database, tools.store, video.tenant_id, video.object_key)
    async with Progress(lease, tools.queue, engine) as progress, of_video as file:
        watched = replace(toolkit, engine=engine)
        found = await analyze_with_looks(file, spec, watched, progress.tell, progress.found, measure)
    info = msgspec.structs.replace(found.report.video, path=video.filename or video.title)
    report = msgspec.structs.replace(found.report, video=info)
    cost = _metrics(lease, report, began, clips_reused=engine.reused, shared=False)
    return await _done(report, cost, toolkit, found.looks)


async def _done(report: Report, cost: Metrics, toolkit: Toolkit, looks: Track | None) -> Done:
    return report, cost, await asyncio.to_thread(index_of, report, toolkit.encoder.likelihood), looks


def _metrics(lease: Lease, report: Report, began: float, *, clips_reused: int, shared: bool) -> Metrics:
    run_s = time.monotonic() - began
    return metrics.of(report, run_s=run_s, queued_s=lease.queued_s, clips_reused=clips_reused, shared=shared)


async def _alike(session: AsyncSession, keyring: Keyring, lease: Lease) -> KeptReport | None:
    """A report with the same features. One that is not what was kept is no reason not to compute them again."""
    try:
        return await reports.alike(session, keyring, lease.tenant_id, lease.feature_key)
    except (Altered, InputNotFound) as error:
        _LOG.warning("%s is computed anew: %s", lease.job_id, error)
        return None


async def _known(lease: Lease, queue: Queue, toolkit: Toolkit) -> tuple[Video, Report | None]:
    """The video, and a report of it with the same features by the same model, where there is one: and where its looks
    are known, which no report keeps. One that was analysed before there were looks gets them by being decoded again."""
    async with queue.database.read(SYSTEM) as session:
        video = await session.get_one(Video, lease.video_id)
        seen = select(VideoLooks.video_id).where(
            VideoLooks.tenant_id == lease.tenant_id, VideoLooks.video_id == lease.video_id
        )
        kept = None
        if (await session.exec(seen)).one_or_none() is not None:
            kept = await _alike(session, queue.keyring, lease)
    if kept is None:
        return video, None
    report = await asyncio.to_thread(kept.report)
    now = [info.space for info in (toolkit.encoder.info, *toolkit.added.values())]
    same = [model.space for model in report.models] == now
    return video, report if same else None
