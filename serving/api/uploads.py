"""Bytes in: one request that holds a whole video."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from litestar import Request, Response, post, put
from litestar.params import Parameter

from serving.api.access import Principal, needs
from serving.api.constraints import FROM_ZERO
from serving.api.videos import VideoView, view
from serving.db.database import Database
from serving.errors import InvalidRequest, TooLarge
from serving.settings import Settings
from serving.storage.store import Store
from serving.uploads import form, minutes, quota, receive
from serving.uploads.names import PLAIN_PATTERN

Title = Annotated[str | None, Parameter(min_length=1, max_length=500, pattern=PLAIN_PATTERN, required=False)]
ContentLength = Annotated[int | None, Parameter(header="Content-Length", ge=0, schema_extra=FROM_ZERO, required=False)]


@post(
    "/v1/videos",
    operation_id="upload_video",
    **needs("videos:write"),
    tags=["uploads"],
    status_code=201,
    summary="Upload a video in one request",
    request_max_body_size=None,
)
async def upload(
    request: Request[Any, Any, Any],
    principal: Principal,
    database: Database,
    store: Store,
    settings: Settings,
    title: Title = None,
    filename: Annotated[str | None, Parameter(max_length=255, pattern=PLAIN_PATTERN, required=False)] = None,
    content_length: ContentLength = None,
) -> Response[VideoView]:
    """The body is the video's bytes, as they are; or a form (`multipart/form-data`) with one file, and before it a
    `title` if one is wanted. What type the request says they are does not matter, their beginning does. The same bytes
    again are the same video: 200 instead of 201."""
    keeping = _Keeping(database, store, settings, principal.tenant_id)
    content_type = request.headers.get("Content-Type", "")
    if content_type.partition(";")[0].strip().lower() != form.CONTENT_TYPE:
        return await keeping.answer(request.stream(), content_length, title, filename)
    await keeping.require_room(content_length, around_bytes=form.AROUND_BYTES)
    sent = await form.opened(request.stream(), content_type)
    return await keeping.answer(sent.chunks, None, title or sent.title, filename or sent.filename)


@put(
    "/v1/videos/files/{filename:str}",
    operation_id="put_video",
    **needs("videos:write"),
    tags=["uploads"],
    status_code=201,
    summary="Upload a video in one request, by its name",
    request_max_body_size=None,
)
async def put_file(
    request: Request[Any, Any, Any],
    principal: Principal,
    database: Database,
    store: Store,
    settings: Settings,
    filename: Annotated[
        str, Parameter(min_length=1, max_length=255, pattern=PLAIN_PATTERN, description="What the file is called")
    ],
    title: Title = None,
    content_length: ContentLength = None,
) -> Response[VideoView]:
    """As POST of a body that is the video's bytes: `curl -T film.mp4 .../v1/videos/files/`. The name is only a name:
    two films may have the same."""
    keeping = _Keeping(database, store, settings, principal.tenant_id)
    return await keeping.answer(request.stream(), content_length, title, filename)


class _Keeping:
    """What both do."""

    def __init__(self, database: Database, store: Store, settings: Settings, tenant: str) -> None:
        self._database, self._store, self._options, self._tenant = database, store, settings.upload, tenant

    async def require_room(self, content_length: int | None, *, around_bytes: int = 0) -> int | None:
        """Before a byte is read: it would be for nothing. As many may come, as things are just now; None: as many as
        one video may have.

        Raises:
            InvalidRequest: there are none.
            TooLarge: there are more than one video may have.
            QuotaExceeded: there are more than the tenant may keep, or it may keep no more video.
        """
        if content_length == 0:
            raise InvalidRequest("the body is empty; send the video's bytes", (("", "empty"),))
        size = max((content_length or 0) - around_bytes, 1)
        if size > self._options.max_bytes:
            raise TooLarge(f"{size} bytes; at most {self._options.max_bytes} are taken (upload.max_bytes)")
        async with self._database.read(self._tenant) as session:
            await minutes.require_room(session, self._tenant, self._options.tenant_max_minutes)
            await quota.require_room(session, self._tenant, size, self._options.tenant_max_bytes)
            return await quota.room_bytes(session, self._tenant, self._options.tenant_max_bytes)

    async def answer(
        self, chunks: AsyncIterator[bytes], content_length: int | None, title: str | None, filename: str | None
    ) -> Response[VideoView]:
        """Keep the bytes, and tell of the video."""
        room_bytes = await self.require_room(content_length)
        received = await receive.whole(
            self._database,
            self._store,
            self._tenant,
            _bounded(chunks, self._options.max_bytes, room_bytes),
            title=title,
            filename=filename,
            tenant_max_bytes=self._options.tenant_max_bytes,
        )
        video = received.video
        headers = {"Location": f"/v1/videos/{video.id}"}
        return Response(view(video), status_code=201 if received.created else 200, headers=headers)


async def _bounded(chunks: AsyncIterator[bytes], most: int, room_bytes: int | None) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise TooLarge(f"more than {most} bytes; so many are not taken (upload.max_bytes)")
        quota.require_within(size, room_bytes)
        if chunk:
            yield chunk
