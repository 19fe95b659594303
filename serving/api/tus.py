"""Bytes in, in pieces: tus 1.0.0, https://tus.io/protocols/resumable-upload. What becomes of them is in
`serving.uploads.tus`; here is only how it is said in HTTP."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC
from email.utils import format_datetime
from typing import Annotated, Any, Final

from litestar import Controller, MediaType, Request, Response, delete, head, patch, post, route
from litestar.enums import HttpMethod
from litestar.exceptions import MethodNotAllowedException
from litestar.openapi import ResponseSpec
from litestar.params import Parameter

from serving.api import problem
from serving.api.access import OPEN, Principal, needs
from serving.api.constraints import FROM_ZERO
from serving.api.strict import STALLED_S
from serving.api.tus_views import UploadId
from serving.db.uploads import Upload
from serving.errors import Gone, InvalidRequest, ProtocolVersion, TooLarge, UnsupportedMediaType, UploadErrored
from serving.uploads import tus_headers
from serving.uploads.incoming import Interrupted
from serving.uploads.rows import is_full
from serving.uploads.tus import Uploads

VERSION: Final = "1.0.0"
EXTENSIONS: Final = "creation,creation-with-upload,creation-defer-length,checksum,termination,expiration"
BYTES: Final = "application/offset+octet-stream"
"""The one type that pieces have."""

Length = Annotated[int | None, Parameter(header="Upload-Length", ge=0, schema_extra=FROM_ZERO, required=False)]
Offset = Annotated[int | None, Parameter(header="Upload-Offset", ge=0, schema_extra=FROM_ZERO, required=False)]
ContentLength = Annotated[int | None, Parameter(header="Content-Length", ge=0, schema_extra=FROM_ZERO, required=False)]
ContentType = Annotated[str | None, Parameter(header="Content-Type", required=False)]
Checksum = Annotated[str | None, Parameter(header="Upload-Checksum", max_length=200, required=False)]


#: Statuses that the protocol has besides those that every operation may answer with.
_NEEDED: Final = needs("videos:write")
_NEEDED["responses"] |= {
    status: ResponseSpec(problem.Problem, media_type=problem.CONTENT_TYPE, generate_examples=False)
    for status in (410, 412, 415, 460)
}


def _require_version(request: Request[Any, Any, Any]) -> None:
    """Before anything else of a request is read, as the protocol has it."""
    said = request.headers.get("Tus-Resumable")
    if said != VERSION:
        raise ProtocolVersion(f"Tus-Resumable has to be {VERSION}, not {said or 'left out'}")


def _require_override(request: Request[Any, Any, Any]) -> None:
    """There is no POST of its own here."""
    if request.headers.get("X-HTTP-Method-Override") not in ("DELETE", "HEAD", "PATCH"):
        raise MethodNotAllowedException(headers={"Allow": "DELETE, GET, HEAD, OPTIONS, PATCH"})
    _require_version(request)


def _handle(request: Request[Any, Any, Any], error: Exception) -> Response[problem.Problem]:
    answer = problem.handle(request, error)
    answer.headers |= {"Tus-Resumable": VERSION, "Cache-Control": "no-store"}
    if isinstance(error, ProtocolVersion):
        answer.headers["Tus-Version"] = VERSION
    return answer


class ResumableUploads(Controller):
    """`/v1/uploads`"""

    path = "/v1/uploads"
    tags = ("uploads",)
    exception_handlers = {Exception: _handle}  # noqa: RUF012 - read by the framework as it stands

    @route(["/", "/{upload_id:str}"], http_method=HttpMethod.OPTIONS, operation_id="upload_abilities", **OPEN,
           include_in_schema=False, status_code=204)  # fmt: skip
    async def abilities(self, uploads: Uploads) -> Response[None]:
        """What of tus is spoken here."""
        headers = {
            "Tus-Resumable": VERSION,
            "Tus-Version": VERSION,
            "Tus-Extension": EXTENSIONS,
            "Tus-Max-Size": str(uploads.options.max_bytes),
            "Tus-Checksum-Algorithm": ",".join(tus_headers.ALGORITHMS),
        }
        return Response(None, status_code=204, headers=headers)

    @post(
        operation_id="create_upload",
        **_NEEDED,
        summary="Begin a resumable upload (tus)",
        request_max_body_size=None,
        before_request=_require_version,
    )
    async def create(
        self,
        request: Request[Any, Any, Any],
        principal: Principal,
        uploads: Uploads,
        length: Length = None,
        defer: Annotated[str | None, Parameter(header="Upload-Defer-Length", required=False)] = None,
        metadata: Annotated[str | None, Parameter(header="Upload-Metadata", required=False)] = None,
        checksum: Checksum = None,
        content_type: ContentType = None,
        content_length: ContentLength = None,
    ) -> Response[None]:
        """Begin an upload; its first bytes may come along. `Upload-Metadata` may name `filename` and `title`."""
        if (length is None) != (defer == "1") or defer not in (None, "1"):
            what = ("Upload-Length", "either this, or Upload-Defer-Length: 1")
            raise InvalidRequest("the length of the upload has to be said, or said to be unknown", (what,))
        about, expected = tus_headers.metadata(metadata), tus_headers.checksum(checksum)
        brings = bool(content_length) or "Transfer-Encoding" in request.headers
        if brings:
            _require_bytes(content_type)
            _require_room(content_length, uploads.options.max_bytes if length is None else length)
        upload = await uploads.create(
            principal.tenant_id, size_bytes=length, filename=about.filename, title=about.title, metadata=metadata
        )
        if brings:
            upload = await uploads.append(upload, 0, _body(request), expected)
        return _answer(upload, 201, {"Location": f"/v1/uploads/{upload.id}"})

    @head(
        "/{upload_id:str}",
        operation_id="get_upload_offset",
        **_NEEDED,
        summary="Where a resumable upload goes on (tus)",
        before_request=_require_version,
    )
    async def offset(self, principal: Principal, uploads: Uploads, upload_id: UploadId) -> Response[None]:
        """Where an upload goes on. Where all bytes are there and a crash came before the video, that is made now."""
        return await _offset(principal.tenant_id, uploads, upload_id)

    @patch(
        "/{upload_id:str}",
        operation_id="append_to_upload",
        **_NEEDED,
        summary="Send bytes of a resumable upload (tus)",
        status_code=204,
        request_max_body_size=None,
        before_request=_require_version,
    )
    async def append(
        self,
        request: Request[Any, Any, Any],
        principal: Principal,
        uploads: Uploads,
        upload_id: UploadId,
        offset: Offset = None,
        length: Length = None,
        checksum: Checksum = None,
        content_type: ContentType = None,
        content_length: ContentLength = None,
    ) -> Response[None]:
        """Send bytes from `Upload-Offset` on. What came before a connection broke is kept. With the last byte, the
        upload becomes a video; or it turns out to be none, and this says why."""
        sent = _Sent(_body(request), offset, length, checksum, content_type, content_length)
        return await _append(principal.tenant_id, uploads, upload_id, sent)

    @delete(
        "/{upload_id:str}",
        operation_id="cancel_upload",
        **_NEEDED,
        summary="Give up an upload",
    )
    async def cancel(
        self, request: Request[Any, Any, Any], principal: Principal, uploads: Uploads, upload_id: UploadId
    ) -> Response[None]:
        """Give an upload up, with all that came of it. For one that is sent in pieces, `Tus-Resumable` has to be there;
        one that is fetched is stopped within seconds."""
        tus = (await uploads.find(principal.tenant_id, upload_id)).method == "tus"
        if tus or "Tus-Resumable" in request.headers:
            _require_version(request)
        return await _cancel(principal.tenant_id, uploads, upload_id)

    @post(
        "/{upload_id:str}",
        operation_id="override_upload_method",
        **_NEEDED,
        include_in_schema=False,
        status_code=204,
        request_max_body_size=None,
        before_request=_require_override,
    )
    async def overridden(
        self,
        request: Request[Any, Any, Any],
        principal: Principal,
        uploads: Uploads,
        upload_id: UploadId,
        method: Annotated[str | None, Parameter(header="X-HTTP-Method-Override", required=False)] = None,
        offset: Offset = None,
        length: Length = None,
        checksum: Checksum = None,
        content_type: ContentType = None,
        content_length: ContentLength = None,
    ) -> Response[None]:
        """The others, for clients behind something that lets only POST through."""
        tenant = principal.tenant_id
        if method == "HEAD":
            return await _offset(tenant, uploads, upload_id)
        if method == "DELETE":
            return await _cancel(tenant, uploads, upload_id)
        sent = _Sent(_body(request), offset, length, checksum, content_type, content_length)
        return await _append(tenant, uploads, upload_id, sent)


@dataclass(frozen=True, slots=True)
class _Sent:
    """A piece, and what its headers say of it."""

    body: AsyncIterator[bytes]
    offset: int | None
    length: int | None
    checksum: str | None
    content_type: str | None
    content_length: int | None


async def _offset(tenant: str, uploads: Uploads, upload_id: str) -> Response[None]:
    try:
        upload = await uploads.going(tenant, upload_id)
        if is_full(upload):
            upload = await uploads.finish(upload)
    except UploadErrored as error:
        # The problem itself is in the JSON; to a client that would resume, it is simply over.
        raise Gone(str(error)) from error
    headers = {"Cache-Control": "no-store"}
    if upload.size_bytes is None:
        headers["Upload-Defer-Length"] = "1"
    else:
        headers["Upload-Length"] = str(upload.size_bytes)
    if (metadata := (await uploads.secrets(upload)).tus_metadata) is not None:
        headers["Upload-Metadata"] = metadata
    return _answer(upload, 200, headers)


async def _append(tenant: str, uploads: Uploads, upload_id: str, sent: _Sent) -> Response[None]:
    _require_bytes(sent.content_type)
    expected = tus_headers.checksum(sent.checksum)
    if sent.offset is None:
        raise InvalidRequest("where do the bytes belong?", (("Upload-Offset", "is missing"),))
    upload = await uploads.going(tenant, upload_id)
    if sent.length is not None:
        upload = await uploads.say_size(upload, sent.length)
    most = uploads.options.max_bytes if upload.size_bytes is None else upload.size_bytes
    if sent.offset == upload.received_bytes:
        _require_room(sent.content_length, most - sent.offset)
    return _answer(await uploads.append(upload, sent.offset, sent.body, expected), 204)


async def _cancel(tenant: str, uploads: Uploads, upload_id: str) -> Response[None]:
    await uploads.cancel(tenant, upload_id)
    return Response(None, status_code=204, headers={"Tus-Resumable": VERSION})


async def _body(request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
    """The body as it comes. Raises Interrupted where it does not come to its end."""
    while True:
        try:
            message = await asyncio.wait_for(request.receive(), STALLED_S)
        except TimeoutError as error:
            raise Interrupted from error
        if message["type"] != "http.request":
            raise Interrupted
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


def _require_bytes(content_type: str | None) -> None:
    if content_type != BYTES:
        raise UnsupportedMediaType(f"Content-Type has to be {BYTES}")


def _require_room(content_length: int | None, room_bytes: int) -> None:
    # Before a byte of it is read: it would be for nothing.
    if content_length is not None and content_length > room_bytes:
        raise TooLarge(f"{content_length} bytes; there is room for {room_bytes}")


def _answer(upload: Upload, status: int, headers: dict[str, str] | None = None) -> Response[None]:
    common = {"Tus-Resumable": VERSION, "Upload-Offset": str(upload.received_bytes)}
    if upload.status == "waiting":
        common["Upload-Expires"] = format_datetime(upload.expires_at.astimezone(UTC), usegmt=True)
    # Nothing at all: as JSON, it would be `null`.
    return Response(b"", media_type=MediaType.TEXT, status_code=status, headers=common | (headers or {}))  # type: ignore[return-value]
