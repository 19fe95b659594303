"""Uploads as JSON: those that are fetched, and of resumable ones more than tus tells."""

import re
from datetime import datetime
from typing import Annotated, Literal, cast

from litestar import Controller, get
from litestar.params import Parameter
from sqlmodel import col, select

from pipeline.record import Record
from serving.api.access import Principal, needs
from serving.api.page import DEFAULT_LIMIT, MAX_LIMIT, Page, after, decode_cursor, page_of
from serving.api.problem import Problem, problem_of
from serving.db.database import Database
from serving.db.uploads import Upload
from serving.errors import UploadErrored
from serving.storage.store import Store
from serving.uploads import confidential
from serving.uploads.confidential import UploadSecrets
from serving.uploads.tus import Uploads

UploadId = Annotated[str, Parameter(pattern=r"^upl_[0-9A-Z]{26}$", description="Id of an upload")]


Status = Literal["waiting", "completed", "errored", "canceled", "expired"]


class UploadView(Record, frozen=True, kw_only=True):
    """An upload, as callers see it."""

    id: str
    status: Status
    method: Literal["tus", "url"]
    """`tus`: its bytes are sent in pieces. `url`: the server fetches it."""
    url: str | None
    """Where it is fetched from, without what follows a `?`, which may be a secret."""
    attempts: int
    """How often the server began to fetch it."""
    filename: str | None
    title: str | None
    size_bytes: int | None
    """None while nobody has said it."""
    received_bytes: int
    """So far; of what is fetched, by the present attempt."""
    sha256: str | None
    """Of the whole, in hex, once it is completed."""
    video_id: str | None
    """What it became. The same bytes as those of a video that was there are that video."""
    job_id: str | None
    """The analysis that was asked for with it, once it is completed."""
    error: Problem | None
    """Why it is `errored`; while it waits, why the latest attempt to fetch it failed."""
    created_at: datetime
    expires_at: datetime
    """When it is given up, if it still waits then; later with every piece that comes."""
    links: dict[str, str]


def view(upload: Upload, secrets: UploadSecrets) -> UploadView:
    """A row as callers see it, with what it keeps sealed."""
    error = None
    if upload.error is not None:
        error = problem_of(UploadErrored(str(upload.error["code"]), str(upload.error["detail"])))
    links = {"self": f"/v1/uploads/{upload.id}"}
    if upload.video_id is not None:
        links["video"] = f"/v1/videos/{upload.video_id}"
    if upload.job_id is not None:
        links["job"] = f"/v1/jobs/{upload.job_id}"
    return UploadView(
        id=upload.id,
        status=cast(Status, upload.status),
        method=cast(Literal["tus", "url"], upload.method),
        url=re.split(r"[?#]", secrets.url)[0] if secrets.url is not None else None,
        attempts=upload.attempts,
        filename=upload.filename,
        title=upload.title,
        size_bytes=upload.size_bytes,
        received_bytes=upload.received_bytes,
        sha256=upload.sha256,
        video_id=upload.video_id,
        job_id=upload.job_id,
        error=error,
        created_at=upload.created_at,
        expires_at=upload.expires_at,
        links=links,
    )


class UploadRecords(Controller):
    """`/v1/uploads`, as JSON."""

    path = "/v1/uploads"
    tags = ("uploads",)

    @get(operation_id="list_uploads", **needs("videos:write"), summary="Uploads, latest first")
    async def many(
        self,
        principal: Principal,
        database: Database,
        store: Store,
        status: Status | None = None,
        limit: Annotated[int, Parameter(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
        cursor: Annotated[str | None, Parameter(max_length=512, required=False)] = None,
    ) -> Page[UploadView]:
        """Uploads in pieces and by URL, latest first; those that are over, too."""
        query = select(Upload).where(Upload.tenant_id == principal.tenant_id)
        if status is not None:
            query = query.where(Upload.status == status)
        if cursor is not None:
            # Their ids sort by when they were made.
            query = query.where(after((Upload.id,), decode_cursor(cursor, tuple[str])))
        query = query.order_by(col(Upload.id).desc()).limit(limit + 1)
        async with database.read(principal.tenant_id) as session:
            rows = (await session.exec(query)).all()
            opening = store.keyring.of_tenants(session)
            found = [(row, await confidential.opened(opening, row)) for row in rows]
        return page_of(found, limit, lambda one: view(*one), lambda one: (one[0].id,))

    @get("/{upload_id:str}", operation_id="get_upload", **needs("videos:write"), summary="An upload")
    async def one(self, principal: Principal, uploads: Uploads, upload_id: UploadId) -> UploadView:
        """How far an upload is, what it became, or why it came to nothing."""
        upload = await uploads.find(principal.tenant_id, upload_id)
        return view(upload, await uploads.secrets(upload))
