"""What messages to webhooks look like; `delivery.body_of` writes them."""

from datetime import datetime
from typing import Literal

from pipeline.record import Record


class JobSucceededData(Record, frozen=True, kw_only=True):
    """A job that made a report."""

    job_id: str
    video_id: str
    state: Literal["succeeded"]
    segments: int
    """Key segments that it found; `GET /v1/jobs/{job_id}/report` has them, and all else."""
    shots: int
    tags: int


class JobProblem(Record, frozen=True, kw_only=True):
    """Why a job failed: a problem as the API's own are."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    retryable: bool


class JobFailedData(Record, frozen=True, kw_only=True):
    """A job that failed for good: it was tried as often as it may be, or trying would not help."""

    job_id: str
    video_id: str
    state: Literal["failed"]
    error: JobProblem | None = None
    """None where it would make the message too long; the job has it."""
    truncated: bool = False


class JobCanceledData(Record, frozen=True, kw_only=True):
    """A job that was stopped because its caller wanted that."""

    job_id: str
    video_id: str
    state: Literal["canceled"]


class WebhookTestData(Record, frozen=True, kw_only=True):
    """Somebody wants to know whether messages arrive."""

    webhook_id: str


class JobSucceededMessage(Record, frozen=True, kw_only=True):
    """A job succeeded."""

    type: Literal["job.succeeded"]
    timestamp: datetime
    """When it happened, the same at every attempt to deliver."""
    data: JobSucceededData


class JobFailedMessage(Record, frozen=True, kw_only=True):
    """A job failed."""

    type: Literal["job.failed"]
    timestamp: datetime
    """When it happened, the same at every attempt to deliver."""
    data: JobFailedData


class JobCanceledMessage(Record, frozen=True, kw_only=True):
    """A job was canceled."""

    type: Literal["job.canceled"]
    timestamp: datetime
    """When it happened, the same at every attempt to deliver."""
    data: JobCanceledData


class WebhookTestMessage(Record, frozen=True, kw_only=True):
    """A test that was asked for."""

    type: Literal["webhook.test"]
    timestamp: datetime
    """When it happened, the same at every attempt to deliver."""
    data: WebhookTestData


MESSAGES: dict[str, type[Record]] = {
    "job.succeeded": JobSucceededMessage,
    "job.failed": JobFailedMessage,
    "job.canceled": JobCanceledMessage,
    "webhook.test": WebhookTestMessage,
}
"""Type of event -> its message."""
