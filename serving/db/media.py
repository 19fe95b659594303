"""Tables: what was uploaded, and what is known of it."""

from typing import Any

from sqlalchemy import BigInteger, Column, Computed, Float, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel

from serving.db.columns import Moment, document, moment, words


class Video(SQLModel, table=True):
    """A video that was uploaded whole."""

    __table_args__ = (
        Index("ix_video_tenant_created", "tenant_id", "created_at", "id"),
        Index("ix_video_tenant_sha256", "tenant_id", "sha256"),
        # For adding up what a tenant keeps.
        Index("ix_video_size", "tenant_id", postgresql_include=["size_bytes", "duration_s", "imported_bytes"]),
        # For the sweep, which asks whether anything names an object.
        Index("ix_video_object_key", "object_key"),
        # What lists are sorted by.
        Index("ix_video_tenant_updated_at", "tenant_id", "updated_at", "id"),
        Index("ix_video_tenant_by_title", "tenant_id", "by_title", "id"),
        Index("ix_video_tenant_by_duration", "tenant_id", "by_duration", "id"),
        Index("ix_video_tenant_size_bytes", "tenant_id", "size_bytes", "id"),
        Index("ix_video_tenant_status", "tenant_id", "status", "created_at", "id"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    title: str
    labels: list[str] = words()
    user_metadata: dict[str, Any] = document()
    filename: str | None = None
    size_bytes: int = Field(sa_type=BigInteger)
    imported_bytes: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    """Of what came with it in an archive: reports, as they are kept, and what else is told of it there."""
    sha256: str
    object_key: str
    """Where the store has its bytes."""
    status: str = Field(default="uploaded")
    """`uploaded`, `analyzing`, `analyzed` or `failed`: see `serving.jobs.standing`."""
    duration_s: float | None = None
    width: int | None = None
    height: int | None = None
    codec: str | None = None
    container: str | None = None
    url_generation: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """How often its signed URLs were revoked."""
    created_at: Moment = moment(now=True)
    updated_at: Moment = moment(now=True)
    by_title: str = Field(default=None, sa_column=Column(Text, Computed("lower(title)", persisted=True)))
    """What it is sorted by."""
    by_duration: float = Field(
        default=None, sa_column=Column(Float, Computed("coalesce(duration_s, -1)", persisted=True))
    )
    """Likewise: one whose duration is not known yet counts as the shortest."""


class VideoKey(SQLModel, table=True):
    """Something that a video is found by. A trigger keeps them (migration 0009)."""

    __tablename__ = "video_key"  # type: ignore[assignment]
    __table_args__ = (Index("ix_video_key_value", "tenant_id", "kind", "value", "video_id"),)

    video_id: str = Field(primary_key=True, foreign_key="video.id", ondelete="CASCADE")
    kind: str = Field(primary_key=True)
    """`word` of its title or file name, `label`, or `metadata`."""
    value: str = Field(sa_column=Column(Text(collation="C"), primary_key=True))
    """The word, in small letters; the label; the hash of an entry of its metadata (`video_metadata_value`)."""
    tenant_id: str = Field(foreign_key="tenant.id")


class StoredReport(SQLModel, table=True):
    """The report of a job. The latest one of a video is what its resources show."""

    __tablename__ = "report"  # type: ignore[assignment]
    __table_args__ = (
        Index("ix_report_video", "video_id", "created_at"),
        Index("ix_report_features", "tenant_id", "feature_key"),
    )

    job_id: str = Field(primary_key=True)
    tenant_id: str = Field(primary_key=True, foreign_key="tenant.id")
    video_id: str = Field(foreign_key="video.id", ondelete="CASCADE")
    feature_key: str
    """Equal for jobs whose features are the same, so that they are computed once: see `serving.jobs.features`."""
    body: bytes = Field(sa_type=LargeBinary)
    """The report as JSON, compressed by zlib, and then sealed; see `serving.storage.reports`."""
    sealed: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    """Not, where it is from before reports were; see `serving.storage.old_values`."""
    created_at: Moment = moment(now=True)


class VideoTag(SQLModel, table=True):
    """A tag that a video has, by whomever, to find it by."""

    __tablename__ = "video_tag"  # type: ignore[assignment]
    __table_args__ = (Index("ix_video_tag_label", "tenant_id", "label", "score"),)

    video_id: str = Field(primary_key=True, foreign_key="video.id", ondelete="CASCADE")
    origin: str = Field(default="", primary_key=True, sa_column_kwargs={"server_default": ""})
    """Id of the vocabulary that stands for the library and found it; empty: of the video's latest report."""
    label: str = Field(primary_key=True)
    """A label, a category, or another name of a label: then `alias_of` is its name."""
    tenant_id: str = Field(foreign_key="tenant.id")
    category: str | None = None
    score: float
    alias_of: str | None = None
