"""Tables: the keys that objects and values are sealed with, each wrapped by another. See docs/security.md."""

from sqlalchemy import ForeignKeyConstraint, Index, LargeBinary
from sqlmodel import Field, SQLModel

from serving.db.columns import Moment, moment


class TenantKey(SQLModel, table=True):
    """A key of a tenant, wrapped by a master key. The one of the highest version wraps; those before it are there while
    anything is wrapped by them."""

    __tablename__ = "tenant_key"  # type: ignore[assignment]

    tenant_id: str = Field(primary_key=True, foreign_key="tenant.id")
    version: int = Field(primary_key=True)
    """Counts from 1."""
    wrapped: bytes = Field(sa_type=LargeBinary)
    master: str
    """Name of the master key."""
    created_at: Moment = moment(now=True)


class DataKey(SQLModel, table=True):
    """The key of one object, or of what is sealed in the rows of a video or tenant; wrapped by its tenant's. An object
    that has none was kept before objects were sealed; one whose key is gone is unreadable for good."""

    __tablename__ = "data_key"  # type: ignore[assignment]
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "tenant_version"], ["tenant_key.tenant_id", "tenant_key.version"]),
        Index("ix_data_key_tenant", "tenant_id", "tenant_version"),
        Index("ix_data_key_video", "video_id"),
        Index("ix_data_key_upload", "upload_id"),
    )

    object_key: str = Field(primary_key=True)
    """Where the store has the object; of values, see `serving.storage.keyring.values_at`."""
    tenant_id: str = Field(foreign_key="tenant.id")
    tenant_version: int
    """Which of the tenant's keys wraps it."""
    wrapped: bytes = Field(sa_type=LargeBinary)
    video_id: str | None = Field(default=None, foreign_key="video.id", ondelete="CASCADE")
    """Whose bytes or values it seals, or"""
    upload_id: str | None = Field(default=None, foreign_key="upload.id", ondelete="CASCADE")
    """a part of which."""
    created_at: Moment = moment(now=True)


class WrittenOver(SQLModel, table=True):
    """A table in whose files may be what its rows had before they were sealed: PostgreSQL leaves it there until it
    writes the table anew, see `serving.storage.old_values`."""

    __tablename__ = "written_over"  # type: ignore[assignment]

    table_name: str = Field(primary_key=True)
