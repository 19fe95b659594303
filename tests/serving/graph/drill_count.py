"""What is left after `drill`, counted."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import text

from pipeline.report import Report
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from tests.serving.graph.drill_load import Journal, Posted
from tests.serving.graph.reports import same

_ENDS = text(
    """
    SELECT id, state, attempt, (SELECT count(*) FROM report WHERE report.job_id = job.id) AS reports,
        (SELECT count(*) FROM event WHERE event.job_id = job.id AND kind = 'succeeded') AS succeeded,
        (SELECT count(*) <> max(number) FROM event WHERE event.job_id = job.id) AS gaps
    FROM job
    """
)


@dataclass(slots=True)
class Blow:
    """A process that was killed. Moments are by `time.monotonic`."""

    kind: str
    what: str
    """Which process: of a `head`, another one each time."""
    at: float
    running: int
    """Jobs that were running then."""
    until: float = float("inf")
    """When all was as before."""
    job_s: float | None = None
    """After so long, a job that was posted after it had succeeded; None: it did not in time. So with the others."""
    text_s: float | None = None
    """After so long, the API had an embedding from the graph, with such a process there again."""
    back_s: float | None = None
    """After so long, there was another such process; None of a decoder, which is started when it is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """All blows of one kind."""

    kind: str
    times: int
    struck: int
    """Jobs that were not over when it came."""
    lost: int
    """Of them, and those that were posted until all was as before: not succeeded. So with the next two."""
    duplicated: int
    """Succeeded other than once, or with a gap in their events' numbers."""
    different: int
    """Whose report is not that of the undisturbed one."""
    api_failures: int
    not_recovered: int
    recovery_median_s: float | None
    """Until a job that was posted after the blow had succeeded."""
    recovery_worst_s: float | None
    whole_median_s: float | None
    """Until there was another such process, and a text was embedded, too."""
    whole_worst_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    rows: tuple[Row, ...]
    jobs: int
    lost: int
    duplicated: int
    different: int
    api_requests: int
    api_failures: int
    undisturbed_s: float
    """What a job took from its request to its end before the first blow, as many at once: median."""
    again: int
    """Attempts beyond the first ones."""
    wrong: list[str] = field(default_factory=list)
    """What is not as it has to be, in words."""


async def outcome(load: Journal, blows: Sequence[Blow], database: Database, left: Sequence[str]) -> Outcome:
    """Count.

    Args:
        left: what was wrong with the end of the server, in words.
    """
    async with database.read(SYSTEM) as session:
        ends = {row.id: row for row in (await execute(session, _ENDS)).all()}
    posted = {job.id for job in load.jobs}
    lost = [job for job in load.jobs if ends[job.id].state != "succeeded"]
    twice = [
        job
        for job in load.jobs
        if (ends[job.id].succeeded, ends[job.id].reports) != (1, 1) or ends[job.id].gaps
        if job not in lost
    ]
    different = [job for job in load.jobs if job.id in load.different]
    first = min((blow.at for blow in blows), default=float("inf"))
    before = [job.ended_at - job.posted_at for job in load.jobs if job.ended_at is not None and job.ended_at < first]
    rows = tuple(
        _row(kind, [blow for blow in blows if blow.kind == kind], load, lost, twice, different)
        for kind in dict.fromkeys(blow.kind for blow in blows)
    )
    wrong = [
        *left,
        *(f"nobody posted {job}" for job in ends if job not in posted),
        *(f"lost: {job.id}: {ends[job.id].state}, attempt {ends[job.id].attempt}" for job in lost),
        *(f"not once: {job.id}: {ends[job.id]}" for job in twice),
        *(f"another report: {job}: {why:.300}" for job, why in load.different.items()),
        *(f"the API: {one.request}: {one.why}" for one in load.failures[:20]),
        *(f"{blow.what} was not recovered from: {blow}" for blow in blows if _whole_s(blow) is None),
        *(f"no job ran when {blow.what} was killed" for blow in blows if not blow.running),
    ]
    return Outcome(
        rows=rows,
        jobs=len(load.jobs),
        lost=len(lost),
        duplicated=len(twice),
        different=len(different),
        api_requests=load.asked,
        api_failures=len(load.failures),
        undisturbed_s=round(statistics.median(before), 2) if before else 0.0,
        again=sum(ends[job.id].attempt - 1 for job in load.jobs),
        wrong=wrong,
    )


def difference(report: bytes, expected: bytes) -> str | None:
    """Between reports of one film, in words; None where there is none. The tolerance is each job's own."""
    return unlike(_read(report), _read(expected))


def unlike(found: Report, other: Report) -> str | None:
    """As `difference`."""
    sampling = msgspec.structs.replace(found.spec.sampling, tolerance_s=other.spec.sampling.tolerance_s)
    found = msgspec.structs.replace(found, spec=msgspec.structs.replace(found.spec, sampling=sampling))
    try:
        same(found, other)
    except AssertionError as error:
        return str(error)
    return None


def _read(report: bytes) -> Report:
    return msgspec.json.decode(report, type=Report)


def _row(
    kind: str, blows: Sequence[Blow], load: Journal, lost: list[Posted], twice: list[Posted], different: list[Posted]
) -> Row:
    def of(jobs: Sequence[Posted]) -> int:
        return sum(any(_concerned(job, blow) for blow in blows) for job in jobs)

    jobs_s = [blow.job_s for blow in blows if blow.job_s is not None]
    wholes_s = [whole_s for blow in blows if (whole_s := _whole_s(blow)) is not None]
    return Row(
        kind=kind,
        times=len(blows),
        struck=sum(any(_struck(job, blow) for blow in blows) for job in load.jobs),
        lost=of(lost),
        duplicated=of(twice),
        different=of(different),
        api_failures=sum(any(blow.at <= one.at <= blow.until for blow in blows) for one in load.failures),
        not_recovered=len(blows) - len(wholes_s),
        recovery_median_s=round(statistics.median(jobs_s), 2) if jobs_s else None,
        recovery_worst_s=round(max(jobs_s), 2) if jobs_s else None,
        whole_median_s=round(statistics.median(wholes_s), 2) if wholes_s else None,
        whole_worst_s=round(max(wholes_s), 2) if wholes_s else None,
    )


def _struck(job: Posted, blow: Blow) -> bool:
    return job.posted_at <= blow.at and (job.ended_at is None or job.ended_at > blow.at)


def _concerned(job: Posted, blow: Blow) -> bool:
    return _struck(job, blow) or blow.at <= job.posted_at <= blow.until


def _whole_s(blow: Blow) -> float | None:
    """Until all of it was there again; None where something was not."""
    found = [blow.job_s, blow.text_s, *([] if blow.kind == "decoder" else [blow.back_s])]
    known = [one for one in found if one is not None]
    return max(known) if len(known) == len(found) else None
