"""Bytes in: one request that holds a whole video."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from litestar import Request, Response, post
from litestar.params import Parameter

from serving.api.access import Principal, needs
from serving.api.videos import VideoView, view
from serving.db.database import Database
from serving.errors import InvalidRequest, TooLarge
from serving.settings import Settings
from serving.storage.store import Store
from serving.uploads import receive


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
    title: Annotated[str | None, Parameter(min_length=1, max_length=500, required=False)] = None,
    filename: Annotated[str | None, Parameter(max_length=255, required=False)] = None,
    content_length: Annotated[int | None, Parameter(header="Content-Length", ge=0, required=False)] = None,
) -> Response[VideoView]:
    """The body is the video's bytes, as they are. The same bytes again are the same video: 200 instead of 201."""
    most = settings.upload.max_bytes
    if content_length is not None and content_length > most:
        raise TooLarge(f"{content_length} bytes; at most {most} are taken (upload.max_bytes)")
    if content_length == 0:
        raise InvalidRequest("the body is empty; send the video's bytes", (("", "empty"),))
    received = await receive.whole(
        database, store, principal.tenant_id, _bounded(request.stream(), most), title=title, filename=filename
    )
    video = received.video
    headers = {"Location": f"/v1/videos/{video.id}"}
    return Response(view(video), status_code=201 if received.created else 200, headers=headers)


async def _bounded(chunks: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise TooLarge(f"more than {most} bytes; so many are not taken (upload.max_bytes)")
        if chunk:
            yield chunk
