"""The API's other end: uploads videos, asks for jobs, follows what happens to them. Prints nothing."""

import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec

from pipeline.errors import CorruptVideo, InputNotFound, InvalidSettings
from pipeline.report import Report
from serving.answers import (
    FINAL,
    Failure,
    ImportSeen,
    JobSeen,
    ModelSeen,
    Refused,
    ServerFault,
    Unreachable,
    UploadSeen,
    VideoSeen,
    decoded,
    failure_of,
)
from serving.event_stream import Event, EventParser
from serving.found_answers import CopiesSeen, RecommendationsSeen, SearchSeen, SpaceSeen
from serving.ids import new_id
from serving.requests import FetchRequest, JobRequest

#: How long is waited before what failed is tried again, seconds; a wrong address is told after the sum of them.
WAITS_S: Final = (0.3, 0.7, 2.0)

#: The longest that a server may have us wait between two tries, seconds.
MAX_WAIT_S: Final = 10.0

#: For how long a stream of events that was heard once is sought again, seconds: a server may be set up anew meanwhile.
PATIENCE_S: Final = 120.0

#: Streams are never silent for longer than 15 s; one that is was lost without anybody noticing.
SILENCE_S: Final = 45.0

VIDEO_ID: Final = re.compile(r"vid_[0-9A-Z]{26}")
_JOB_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CHUNK_BYTES: Final = 1 << 20


class Client:
    """Speaks with one server as one caller. Use it in a `with` block; its methods may be called by several threads.

    Every request may be repeated without harm, and is where it failed for a reason that may pass. All methods raise
    Unreachable, Refused and ServerFault.
    """

    def __init__(self, server: str, key: str) -> None:
        """`server`: its address, `https://host`; `key`: empty for none.

        Raises:
            InvalidSettings: no such address or key can be.
        """
        try:
            address = httpx.URL(server)
        except httpx.InvalidURL as error:
            raise InvalidSettings(f"{server}: no address of a server ({error})") from error
        if address.scheme not in ("http", "https") or not address.host:
            raise InvalidSettings(f"{server}: no address of a server; it begins with http:// or https://")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise InvalidSettings("the key holds characters that no key has")
        self._server = server
        self._http = httpx.Client(
            base_url=address,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(60.0, connect=10.0, pool=None),
            limits=httpx.Limits(max_connections=None),
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def upload(self, file: Path, told: Callable[[int, int], None]) -> VideoSeen:
        """Send a file. The same bytes again are the same video. `told`: bytes sent and of how many, as they go.

        Raises:
            InputNotFound: it cannot be read.
            CorruptVideo: it became shorter meanwhile.
        """
        if not file.is_file():
            raise InputNotFound(f"{file}: {'a folder, no file' if file.is_dir() else 'no such file'}")
        size = file.stat().st_size
        # A name on disk need not be valid Unicode; a name in an address has to be.
        name = file.name.encode(errors="replace").decode()
        answer = self._ask(
            "POST",
            "/v1/videos",
            params={"filename": name},
            headers={"Content-Length": str(size), "Content-Type": "application/octet-stream"},
            content=lambda: _chunks(file, size, told),
            # The server may have to move all of it before it answers.
            timeout=httpx.Timeout(600.0, connect=10.0),
        )
        return decoded(answer, VideoSeen)

    def submit(self, request: JobRequest) -> JobSeen:
        """Queue a job: one, however often the request has to be repeated."""
        body = msgspec.json.encode(request)
        headers = {"Idempotency-Key": new_id("req"), "Content-Type": "application/json"}
        return decoded(self._ask("POST", "/v1/jobs", headers=headers, content=lambda: body), JobSeen)

    def fetch(self, request: FetchRequest) -> UploadSeen:
        """Have the server fetch a video: once, however often the request has to be repeated."""
        body = msgspec.json.encode(request)
        headers = {"Idempotency-Key": new_id("req"), "Content-Type": "application/json"}
        return decoded(self._ask("POST", "/v1/uploads/url", headers=headers, content=lambda: body), UploadSeen)

    def upload_record(self, upload_id: str) -> UploadSeen:
        """An upload as it is now."""
        return decoded(self._ask("GET", f"/v1/uploads/{quote(upload_id, safe='')}"), UploadSeen)

    def job(self, job_id: str) -> JobSeen:
        """A job as it is now."""
        return decoded(self._ask("GET", _job_path(job_id)), JobSeen)

    def cancel(self, job_id: str) -> JobSeen:
        """Have a job stopped; as it is right after that."""
        return decoded(self._ask("POST", f"{_job_path(job_id)}/cancel"), JobSeen)

    def report(self, video_id: str) -> Report:
        """What the latest analysis of a video found."""
        return decoded(self._ask("GET", f"/v1/videos/{quote(video_id, safe='')}/report"), Report)

    def job_report(self, job_id: str) -> Report:
        """What a job found."""
        return decoded(self._ask("GET", f"{_job_path(job_id)}/report"), Report)

    def models(self) -> tuple[ModelSeen, ...]:
        """Models that jobs may ask for."""
        return decoded(self._ask("GET", "/v1/models"), tuple[ModelSeen, ...])

    def search(self, request: bytes) -> SearchSeen:
        """What a search finds. `request`: the body of `POST /v1/search`."""
        headers = {"Content-Type": "application/json"}
        return decoded(self._ask("POST", "/v1/search", headers=headers, content=lambda: request), SearchSeen)

    def spaces(self) -> tuple[SpaceSeen, ...]:
        """Spaces that videos are in, the one that searches are answered from first."""
        return decoded(self._ask("GET", "/v1/spaces"), tuple[SpaceSeen, ...])

    def build_space(self, model: str) -> SpaceSeen:
        """Have all videos put into the space of a model."""
        headers = {"Content-Type": "application/json"}
        content = msgspec.json.encode({"model": model})
        return decoded(self._ask("POST", "/v1/spaces", headers=headers, content=lambda: content), SpaceSeen)

    def activate_space(self, space: str, least_coverage: float) -> SpaceSeen:
        """Have searches answered from a space."""
        headers = {"Content-Type": "application/json"}
        content = msgspec.json.encode({"least_coverage": least_coverage})
        path = f"/v1/spaces/{quote(space, safe='')}/activate"
        return decoded(self._ask("POST", path, headers=headers, content=lambda: content), SpaceSeen)

    def remove_space(self, space: str) -> None:
        """Have a space removed that does not answer."""
        self._ask("DELETE", f"/v1/spaces/{quote(space, safe='')}")

    def copies(self, video_id: str | None, **asked: str | int) -> CopiesSeen:
        """Videos that share stretches with one of them, or all such pairs. `asked`: `limit`, `cursor`, `sort`."""
        path = "/v1/copies" if video_id is None else f"/v1/videos/{quote(video_id, safe='')}/copies"
        return decoded(self._ask("GET", path, params=asked), CopiesSeen)

    def similar(
        self, video_id: str, segment: int | None = None, **asked: str | float | list[str]
    ) -> RecommendationsSeen:
        """What is like a video, or a key segment of it. `asked`: `limit`, `diversity`, and filters by their names."""
        part = "" if segment is None else f"/segments/{segment}"
        path = f"/v1/videos/{quote(video_id, safe='')}{part}/similar"
        return decoded(self._ask("GET", path, params=asked), RecommendationsSeen)

    def recommend(self, request: bytes) -> RecommendationsSeen:
        """What somebody may like. `request`: the body of `POST /v1/recommendations`."""
        headers = {"Content-Type": "application/json"}
        answer = self._ask("POST", "/v1/recommendations", headers=headers, content=lambda: request)
        return decoded(answer, RecommendationsSeen)

    def exported(self, video_id: str | None) -> Iterator[bytes]:
        """An archive of a video, or of all that the caller has, as it comes. Where it breaks off, Unreachable."""
        path = "/v1/export" if video_id is None else f"/v1/videos/{quote(video_id, safe='')}/export"
        try:
            with self._http.stream("GET", path, timeout=600.0) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise failure_of(answer)
                yield from answer.iter_raw()
        except httpx.RequestError as error:
            raise self._unreachable(error) from error

    def imported(self, archive: Callable[[], Iterator[bytes]]) -> ImportSeen:
        """Have the server read an archive. `archive`: makes its bytes, anew for each try."""
        told = {"Content-Type": "application/x-tar"}
        return decoded(self._ask("POST", "/v1/import", headers=told, content=archive, timeout=3600.0), ImportSeen)

    def ask(self, method: str, path: str, kind: Any, body: Any = None, **params: str) -> Any:
        """What the server answers to a request with a JSON body, or none: a value of `kind`; None: without a body."""
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if content is None else {"Content-Type": "application/json"}
        answer = self._ask(method, path, headers=headers, params=params, content=lambda: content)
        return None if kind is None else decoded(answer, kind)

    def events(self, job_id: str) -> Iterator[Event]:
        """What has happened to a job and what happens, each once and in order, until it is over. Where the connection
        is lost it is made again, and goes on behind the event that came last."""
        parser = EventParser()
        seen = 0
        until = time.monotonic() + sum(WAITS_S)
        while True:
            after_s = 0.0
            try:
                for chunk in self._stream(job_id, seen):
                    until = time.monotonic() + PATIENCE_S
                    for event in parser.feed(chunk):
                        # Something in between may answer from its memory.
                        if event.number > seen:
                            seen = event.number
                            yield event
                # A stream ends with its job, but also with a server that is shut down.
                if self.job(job_id).state in FINAL:
                    return
            except Failure as error:
                if not error.retryable or time.monotonic() > until:
                    raise
                after_s = min(error.after_s, MAX_WAIT_S)
            except msgspec.DecodeError as error:
                raise ServerFault(f"{self._server} tells an event that is not understood", "unknown_answer") from error
            parser.reset()
            # Spread, so that all who lost a server do not come back to it at once.
            time.sleep(max(after_s, parser.retry_s * random.uniform(0.5, 1.0)))

    def _stream(self, job_id: str, seen: int) -> Iterator[bytes]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(seen)} if seen else {})
        timeout = httpx.Timeout(SILENCE_S, connect=10.0, pool=None)
        try:
            with self._http.stream("GET", f"{_job_path(job_id)}/events", headers=headers, timeout=timeout) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise failure_of(answer)
                yield from answer.iter_bytes()
        except httpx.RequestError as error:
            raise self._unreachable(error) from error

    def _ask(self, method: str, path: str, *, content: Callable[[], Any] = lambda: None, **how: Any) -> httpx.Response:
        """The answer to a request that may be repeated; `content` makes its body, anew for each try."""
        waits = iter(WAITS_S)
        while True:
            try:
                answer = self._http.request(method, path, content=content(), **how)
                if answer.is_success:
                    return answer
                failure = failure_of(answer)
            except httpx.RequestError as error:
                failure = self._unreachable(error)
                failure.__cause__ = error
            wait_s = next(waits, None)
            if wait_s is None or not failure.retryable:
                raise failure
            time.sleep(max(wait_s, min(failure.after_s, MAX_WAIT_S)))

    def _unreachable(self, error: httpx.RequestError) -> Unreachable:
        return Unreachable(f"{self._server} cannot be reached: {str(error) or type(error).__name__}")


def _job_path(job_id: str) -> str:
    if not _JOB_ID.fullmatch(job_id):
        raise Refused(f"{job_id}: no id of a job; it has letters, digits, _ and - only", "not_found")
    return f"/v1/jobs/{job_id}"


def _chunks(file: Path, size: int, told: Callable[[int, int], None]) -> Iterator[bytes]:
    """The first `size` bytes of a file: so many were announced."""
    sent = 0
    told(0, size)
    try:
        with file.open("rb") as opened:
            while sent < size:
                chunk = opened.read(min(_CHUNK_BYTES, size - sent))
                if not chunk:
                    raise CorruptVideo(f"{file}: it became shorter while it was read")
                yield chunk
                sent += len(chunk)
                told(sent, size)
    except OSError as error:
        raise InputNotFound(f"{file}: it cannot be read ({error.strerror})") from error
