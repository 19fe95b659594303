"""A claim on a job, and the rules of claiming."""

from dataclasses import dataclass
from typing import Any

from pipeline.record import Record
from serving.problems import kind_of

#: A job whose workers died so often is not given to another: it may be what kills them.
MAX_DEATHS = 3

#: Wait before the second attempt, seconds; doubles with each, up to the last figure.
RETRY_S, MAX_RETRY_S = 2.0, 300.0


@dataclass(frozen=True, slots=True)
class Lease:
    """A job that was claimed. Good until the lease runs out; renewed by progress."""

    tenant_id: str
    job_id: str
    fence: int
    worker: str
    video_id: str
    feature_key: str
    spec: dict[str, Any]
    attempt: int
    max_attempts: int
    queued_s: float = 0.0
    """How long it waited since it was due, seconds."""
    timeout_s: float | None = None
    """How long this attempt may take, seconds; None: as the worker says."""


class Problem(Record, frozen=True, kw_only=True):
    """Why a job failed."""

    code: str
    detail: str
    retryable: bool = False

    def told(self) -> dict[str, Any]:
        """As its `error`, its events and webhooks tell it: a problem like those that the API answers with."""
        kind = kind_of(self.code)
        return {
            "type": f"/problems/{self.code}",
            "title": kind.title,
            "status": kind.status,
            "code": self.code,
            "detail": self.detail,
            "retryable": self.retryable,
        }


def backoff_s(attempt: int) -> float:
    """Seconds to wait after this attempt (from 1). Jitter is the database's, which spreads what failed together."""
    return min(RETRY_S * 2.0 ** (attempt - 1), MAX_RETRY_S)
