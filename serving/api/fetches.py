"""Bytes in, that the server fetches itself; and what a tenant keeps of all that came."""

from typing import Annotated

from litestar import Response, get, post
from litestar.params import Parameter

from pipeline.record import Record
from serving.api.access import Principal, needs
from serving.api.tus_views import UploadView, view
from serving.db.database import Database
from serving.errors import Forbidden
from serving.fetching import requests
from serving.requests import FetchRequest
from serving.settings import Settings
from serving.storage.store import Store
from serving.uploads import minutes, quota
from serving.uploads.confidential import UploadSecrets


class UsageView(Record, frozen=True, kw_only=True):
    """What a tenant keeps, and may keep."""

    used_bytes: int
    """Of videos, of their renditions, and of uploads under way as far as they have come."""
    allowed_bytes: int | None
    """None: as much as there is room for."""
    videos: int
    video_bytes: int
    rendition_bytes: int
    uploads: int
    """Under way."""
    upload_bytes: int
    used_minutes: float
    """Of videos whose length is known, which is once a job has looked at them."""
    allowed_minutes: int | None
    """None: as much as there is room for."""


@post(
    "/v1/uploads/url",
    operation_id="fetch_upload",
    **needs("videos:write"),
    tags=["uploads"],
    status_code=202,
    summary="Have a video fetched from a URL",
)
async def fetch(
    principal: Principal,
    database: Database,
    store: Store,
    settings: Settings,
    data: FetchRequest,
    idempotency_key: Annotated[
        str | None, Parameter(header="Idempotency-Key", min_length=1, max_length=255, required=False)
    ] = None,
) -> Response[UploadView]:
    """A worker fetches what is at the URL; `GET /v1/uploads/{id}` says how far it is, DELETE stops it. What cannot be
    read now is tried again, some times within an hour. With `Idempotency-Key`, sending it again fetches nothing again.
    With `job`, the video is analysed once it is there."""
    if data.job is not None and "jobs:write" not in principal.scopes:
        raise Forbidden("a job needs the scope jobs:write, too")
    upload = await requests.submit(
        database, store.keyring, settings.upload, principal.tenant_id, data, key=idempotency_key
    )
    return Response(
        view(upload, UploadSecrets(url=data.url)), status_code=202, headers={"Location": f"/v1/uploads/{upload.id}"}
    )


@get(
    "/v1/usage",
    operation_id="get_usage",
    **needs("videos:read"),
    tags=["uploads"],
    summary="What is kept, and may be",
)
async def usage(principal: Principal, database: Database, settings: Settings) -> UsageView:
    """How many bytes and minutes are kept, and how many may be; how many videos and uploads there are."""
    tenant, options = principal.tenant_id, settings.upload
    async with database.read(tenant) as session:
        found = await quota.usage(session, tenant, options.tenant_max_bytes)
        used_s = await minutes.used_seconds(session, tenant)
        allowed_minutes = await minutes.allowed_minutes(session, tenant, options.tenant_max_minutes)
    return UsageView(
        used_bytes=found.used_bytes,
        allowed_bytes=found.allowed_bytes,
        videos=found.videos,
        video_bytes=found.video_bytes,
        rendition_bytes=found.rendition_bytes,
        uploads=found.uploads,
        upload_bytes=found.upload_bytes,
        used_minutes=round(used_s / 60, 3),
        allowed_minutes=allowed_minutes,
    )
