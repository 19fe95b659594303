"""Jobs, as callers see them."""

from datetime import datetime
from types import SimpleNamespace
from typing import Annotated, Any, Final, Literal

from litestar.params import Parameter

from pipeline.record import Record
from pipeline.spec import AnalysisSpec
from serving.api.problem import Problem
from serving.db.documents import Document
from serving.db.work import Job
from serving.jobs.metrics import Metrics

State = Literal["queued", "running", "succeeded", "failed", "canceled"]

#: States from which a job goes nowhere by itself.
FINAL: Final = frozenset({"succeeded", "failed", "canceled"})

JobId = Annotated[str, Parameter(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Id of a job")]
BatchId = Annotated[str, Parameter(pattern=r"^bat_[0-9A-Z]{26}$", description="Id of a batch")]


class Standing(Record, frozen=True, kw_only=True):
    """How far a job is."""

    stage: str
    """`indexing`, `frames`, `analysing`, in this order."""
    done: int
    total: int
    """What `done` is to become: frames for `frames`, 1 for the others."""
    remaining_s: float | None
    """Seconds until the job is done, an estimate; none while there is nothing to estimate it from."""


class JobSummary(Record, frozen=True, kw_only=True):
    """A job, as lists have it: without what it was asked for, which may be long."""

    id: str
    video_id: str
    state: State
    priority: int
    attempt: int
    """How often a worker has begun it."""
    progress: Standing | None
    """None before the first that a worker tells."""
    error: Problem | None
    """Why it failed, or why it waits for another attempt."""
    batch_id: str | None
    created_at: datetime
    started_at: datetime | None
    """When a worker began it first."""
    finished_at: datetime | None
    links: dict[str, str]


class JobView(JobSummary, frozen=True, kw_only=True):
    """A job, whole."""

    spec: AnalysisSpec
    timeout_s: float | None
    """How long one attempt may take, seconds; none: as the server's settings say."""
    metrics: Metrics | None
    """What it cost; known once it has succeeded."""


_SPEC: Final[Document[AnalysisSpec]] = Document(AnalysisSpec)
_METRICS: Final[Document[Metrics]] = Document(Metrics)
_STANDING: Final[Document[Standing]] = Document(Standing)
_PROBLEM: Final[Document[Problem]] = Document(Problem)

#: What `summary` needs of a row.
COLUMNS: Final[tuple[Any, ...]] = (
    Job.id,
    Job.video_id,
    Job.state,
    Job.priority,
    Job.attempt,
    Job.progress,
    Job.error,
    Job.batch_id,
    Job.created_at,
    Job.started_at,
    Job.finished_at,
)


def summary(job: Any) -> JobSummary:
    """A row, of `COLUMNS` at least, as lists have it."""
    return JobSummary(**_summed(job))


def view(job: Job | SimpleNamespace) -> JobView:
    """A row as callers see it."""
    return JobView(
        **_summed(job),
        spec=_SPEC.read(job.spec),
        timeout_s=job.timeout_s,
        metrics=_METRICS.read_any(job.metrics),
    )


def _summed(job: Any) -> dict[str, Any]:
    here = f"/v1/jobs/{job.id}"
    return {
        "id": job.id,
        "video_id": job.video_id,
        "state": job.state,
        "priority": job.priority,
        "attempt": job.attempt,
        "progress": _STANDING.read_any(job.progress),
        "error": _PROBLEM.read_any(job.error),
        "batch_id": job.batch_id,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "links": {
            "self": here,
            "events": f"{here}/events",
            "report": f"{here}/report",
            "video": f"/v1/videos/{job.video_id}",
        },
    }
