"""Tables: what is on its way here."""

from typing import Any

from sqlalchemy import BigInteger, Index, LargeBinary
from sqlmodel import Field, SQLModel

from serving.db.columns import Moment, document, moment


class Upload(SQLModel, table=True):
    """A video that comes in pieces or is fetched, until it is a `Video`."""

    __table_args__ = (
        Index("ix_upload_tenant_created", "tenant_id", "created_at", "id"),
        # For deleting a video, which looks for what became it.
        Index("ix_upload_video", "video_id"),
        Index("ix_upload_expires", "expires_at", postgresql_where="status = 'waiting'"),
        Index("ix_upload_due", "tenant_id", "next_at", postgresql_where="status = 'waiting' AND method = 'url'"),
        Index("ix_upload_ended", "updated_at", postgresql_where="status <> 'waiting'"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    status: str = "waiting"
    """`waiting`, `completed`, `errored`, `canceled` or `expired`. All but the first are final."""
    method: str = "tus"
    """How it comes: `tus`, in pieces, or `url`, fetched by a worker."""
    filename: str | None = None
    title: str | None = None
    sealed: bytes | None = Field(default=None, sa_type=LargeBinary)
    """`serving.uploads.confidential.UploadSecrets`: where it is fetched from, or what tus wants back as it came. None
    where it has neither, or is from before they were sealed; then it has these two as they are:"""
    tus_metadata: str | None = None
    size_bytes: int | None = Field(default=None, sa_type=BigInteger)
    """Of the whole; None while the client has not said it."""
    received_bytes: int = Field(default=0, sa_type=BigInteger)
    """From the beginning, without gaps: what the parts in `upload_part` add up to while it waits. One that is fetched
    has no parts: this is how far its present attempt is, and begins anew with the next."""
    sha256: str | None = None
    """Of the whole, in hex; known once it is completed."""
    video_id: str | None = Field(default=None, foreign_key="video.id", ondelete="SET NULL")
    """What it became; None again where that was deleted since."""
    error: dict[str, Any] | None = document(nullable=True)
    """Why it is `errored`: `code` and `detail` of a problem. While it waits: why its latest attempt failed."""
    url: str | None = None
    job: dict[str, Any] | None = document(nullable=True)
    """The analysis that is asked for with it: `spec` and `priority`, as in `serving.requests.JobAfter`."""
    job_id: str | None = None
    """That analysis, queued in the transaction that made the video."""
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """How often somebody began to fetch it, but for those who gave it back."""
    fence: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    """Goes up whenever somebody takes it on. Whoever did names this number in every later write."""
    next_at: Moment | None = moment(nullable=True)
    """When it is due to be fetched. Whoever takes it on moves this on, and goes on doing so."""
    created_at: Moment = moment(now=True)
    updated_at: Moment = moment(now=True)
    """When bytes were last added to it."""
    expires_at: Moment = moment()
    """When it is given up, if it is still waiting for bytes then; later with every piece."""


class UploadPart(SQLModel, table=True):
    """An object that holds a piece. Object stores cannot append, so that each piece is one of its own."""

    __tablename__ = "upload_part"  # type: ignore[assignment]
    __table_args__ = (
        Index("ix_upload_part_object_key", "object_key", unique=True),
        # For adding up what a tenant keeps.
        Index("ix_upload_part_tenant", "tenant_id", postgresql_include=["size_bytes"]),
    )

    upload_id: str = Field(primary_key=True, foreign_key="upload.id", ondelete="CASCADE")
    offset_bytes: int = Field(primary_key=True, sa_type=BigInteger)
    """Where in the whole it begins."""
    tenant_id: str = Field(foreign_key="tenant.id")
    size_bytes: int = Field(sa_type=BigInteger)
    object_key: str
    """Where the store has it. Unique: what two clients send for the same place never shares an object."""
