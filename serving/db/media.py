"""Tables: what was uploaded, and what is known of it."""

from typing import Any

from sqlalchemy import BigInteger, Index, LargeBinary
from sqlmodel import Field, SQLModel

from serving.db.columns import Moment, document, moment, words


class Video(SQLModel, table=True):
    """A video that was uploaded whole."""

    __table_args__ = (
        Index("ix_video_tenant_created", "tenant_id", "created_at", "id"),
        Index("ix_video_tenant_sha256", "tenant_id", "sha256"),
        # For the sweep, which asks whether anything names an object.
        Index("ix_video_object_key", "object_key"),
        Index("ix_video_labels", "labels", postgresql_using="gin"),
        Index("ix_video_metadata", "user_metadata", postgresql_using="gin"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    title: str
    labels: list[str] = words()
    user_metadata: dict[str, Any] = document()
    filename: str | None = None
    size_bytes: int = Field(sa_type=BigInteger)
    sha256: str
    object_key: str
    """Where the store has its bytes."""
    status: str = Field(default="uploaded")
    """`uploaded`, `analyzing`, `analyzed` or `failed`: what became of its latest job."""
    duration_s: float | None = None
    width: int | None = None
    height: int | None = None
    codec: str | None = None
    container: str | None = None
    created_at: Moment = moment(now=True)
    updated_at: Moment = moment(now=True)


class StoredReport(SQLModel, table=True):
    """The report of a job. The latest one of a video is what its resources show."""

    __tablename__ = "report"  # type: ignore[assignment]
    __table_args__ = (
        Index("ix_report_video", "tenant_id", "video_id", "created_at"),
        Index("ix_report_features", "tenant_id", "feature_key"),
    )

    job_id: str = Field(primary_key=True)
    tenant_id: str = Field(primary_key=True, foreign_key="tenant.id")
    video_id: str = Field(foreign_key="video.id", ondelete="CASCADE")
    feature_key: str
    """Equal for jobs whose features are the same, so that they are computed once: see `serving.jobs.features`."""
    body: bytes = Field(sa_type=LargeBinary)
    """The report as JSON, compressed by zlib."""
    created_at: Moment = moment(now=True)


class VideoTag(SQLModel, table=True):
    """A tag of a video's latest report, to find it by."""

    __tablename__ = "video_tag"  # type: ignore[assignment]
    __table_args__ = (Index("ix_video_tag_label", "tenant_id", "label", "score"),)

    video_id: str = Field(primary_key=True, foreign_key="video.id", ondelete="CASCADE")
    label: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    category: str | None = None
    score: float
