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


class ReasonSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Why something was found, likewise."""

    signal: str
    """`look` or `words`."""
    about: str
    score: float
    weight: float = 1.0
    words: tuple[str, ...] = ()


class ResultSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was found, likewise."""

    video_id: str
    title: str
    start_s: float
    end_s: float
    thumbnail_s: float
    score: float
    tags: tuple[str, ...]
    reasons: tuple[ReasonSeen, ...]


class RejectedSeen(msgspec.Struct, frozen=True, kw_only=True):
    """The best of what was kept out, likewise."""

    video_id: str
    start_s: float
    score: float


class SearchSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What a search found, likewise."""

    data: tuple[ResultSeen, ...]
    next_cursor: str | None
    best_rejected: RejectedSeen | None


class SpaceSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A space of vectors, likewise."""

    space: str
    model: str
    state: str
    videos: int
    library: int
    coverage: float
    given_up: int
    error: str | None


class SharedVideoSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One of two videos that share stretches, likewise."""

    video_id: str
    title: str
    share: float


class StretchSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What they share, likewise."""

    first_start_s: float
    first_end_s: float
    second_start_s: float
    second_end_s: float
    speed: float


class CopySeen(msgspec.Struct, frozen=True, kw_only=True):
    """Two videos that share stretches, likewise."""

    id: str
    first: SharedVideoSeen
    second: SharedVideoSeen
    relation: str
    likeness: float
    stretches: tuple[StretchSeen, ...]


class CopiesSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Copies of a video, or of a library, likewise."""

    data: tuple[CopySeen, ...]
    next_cursor: str | None
    state: str | None = None
    """Of a video: `done`, `pending`, `failed` or `not_looked_at`."""
    pending: int = 0
    """Of a library: videos whose copies are still to be looked for, and others that say nothing either."""
    failed: int = 0
    not_looked_at: int = 0


class ItemSeen(msgspec.Struct, frozen=True, kw_only=True):
    """An item that a reason names, likewise."""

    video_id: str
    segment: int | None
    at_s: float


class BecauseSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Why something is recommended, likewise."""

    signal: str
    item: ItemSeen | None
    similarity: float


class StandInSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What is not recommended besides, likewise."""

    item: ItemSeen
    similarity: float
    copy: bool


class RecommendationSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is recommended, likewise."""

    video_id: str
    title: str
    segment: int | None
    start_s: float
    end_s: float
    score: float
    reasons: tuple[BecauseSeen, ...]
    stands_for: tuple[StandInSeen, ...]


class RecommendationsSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What is recommended, likewise."""

    data: tuple[RecommendationSeen, ...]
    left_out: tuple[StandInSeen, ...]
    way: str


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
