"""What a server answers, as its clients see it: things, and reasons why not."""

from datetime import datetime
from typing import Any, Final

import httpx
import msgspec

from pipeline.errors import VideoError

#: States from which a job goes nowhere by itself.
FINAL: Final = frozenset({"succeeded", "failed", "canceled"})


class Failure(VideoError):
    """The server did not do what it was asked for."""

    after_s = 0.0
    """How long it wants to be left alone, seconds."""


class Unreachable(Failure):
    """No answer came."""

    code = "unreachable"
    retryable = True


class Refused(Failure):
    """The server says no; `code` and the message are its own."""

    def __init__(self, message: str, code: str, *, retryable: bool = False, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.code, self.retryable, self.after_s = code, retryable, after_s


class ServerFault(Refused):
    """The server says that it failed, not the request."""


class VideoSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A video, as far as the command line looks at it. What later servers may add is passed over."""

    id: str
    title: str
    size_bytes: int


class ImportSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an import, likewise."""

    videos: dict[str, str]
    there: dict[str, str]
    without_bytes: tuple[str, ...]
    vocabularies: tuple[str, ...]
    vocabularies_there: tuple[str, ...]


class UploadSeen(msgspec.Struct, frozen=True, kw_only=True):
    """An upload, likewise."""

    id: str
    status: str
    """`waiting`, `completed`, `errored`, `canceled` or `expired`."""
    size_bytes: int | None
    received_bytes: int
    video_id: str | None
    job_id: str | None
    error: dict[str, Any] | None
    """Why it is errored, or is tried again: `code` and `detail`."""


class JobSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A job, likewise."""

    id: str
    video_id: str
    state: str
    """`queued`, `running`, `succeeded`, `failed` or `canceled`."""
    priority: int
    attempt: int
    """How often a worker has begun it."""
    progress: dict[str, Any] | None
    """`stage`, `done` and `total` of it, and `remaining_s`, an estimate."""
    error: dict[str, Any] | None
    """Why it failed, or waits for another attempt: `code` and `detail`."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class LoadedSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A model at a worker or an engine, likewise."""

    worker_id: str
    state: str
    """`ready`, `loading`, `unavailable` or `asleep`."""
    stands_for: str | None
    version: str | None
    space: str | None
    device: str | None
    dtype: str | None
    checked_at: datetime | None
    error: str | None
    engine: str | None = None
    generation: int | None = None
    share: float | None = None
    coming: str | None = None
    swap_error: str | None = None


class ModelSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A model that jobs may ask for, likewise."""

    name: str
    state: str
    """`ready`, `loading`, `unavailable`, `asleep` or `not_loaded`."""
    workers: tuple[LoadedSeen, ...]


class _Pointer(msgspec.Struct, frozen=True):
    pointer: str = ""
    detail: str = ""


class _Problem(msgspec.Struct, frozen=True):
    """RFC 9457, with what this server adds."""

    code: str
    detail: str
    errors: tuple[_Pointer, ...] = ()
    retryable: bool = False
    request_id: str = ""


def decoded(answer: httpx.Response, kind: type) -> Any:
    """The body of an answer as a value of `kind`.

    Raises:
        ServerFault: it is none.
    """
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ServerFault(f"{answer.url} gave an answer that is not understood ({error})", "unknown_answer") from error


def failure_of(answer: httpx.Response) -> Refused:
    """What an answer that is no success says; anything in between may have written it."""
    status = answer.status_code
    after = answer.headers.get("Retry-After", "")
    try:
        problem = msgspec.json.decode(answer.content, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = _Problem(code="unknown_answer", detail=f"{answer.url} answers {status} {answer.reason_phrase}")
    parts = [problem.detail, *(f"{one.pointer} {one.detail}".strip() for one in problem.errors)]
    if status >= 500 and problem.request_id:
        parts.append(problem.request_id)
    kind = ServerFault if status >= 500 else Refused
    return kind(
        "; ".join(parts),
        problem.code,
        retryable=problem.retryable or status in (429, 502, 503, 504),
        after_s=float(after) if after.isascii() and after.isdigit() and len(after) < 7 else 0.0,
    )
