"""Table: videos that are encoded anew for browsers."""

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel

from serving.db.columns import Moment, moment


class Rendition(SQLModel, table=True):
    """A video as H.264 and AAC, or that it is to be encoded so."""

    __table_args__ = (
        Index("ix_rendition_due", "tenant_id", "next_at", postgresql_where="state = 'due'"),
        # Has all that is added up for a tenant.
        Index("ix_rendition_size", "tenant_id", postgresql_include=["size_bytes"]),
        # For the sweep, which asks whether anything names an object.
        Index("ix_rendition_object_key", "object_key"),
    )

    video_id: str = Field(primary_key=True, foreign_key="video.id", ondelete="CASCADE")
    tenant_id: str = Field(foreign_key="tenant.id")
    state: str = "due"
    """`due`: it waits, or somebody is at it. `done`. `failed`."""
    next_at: Moment = moment(now=True)
    """From when on somebody may take it on: whoever does moves it on."""
    attempts: int = 0
    faults: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """How often something was the matter that was neither the video nor ours, since it was asked for."""
    fence: int = 0
    """Counts who took it on: whoever has an old number writes nothing."""
    code: str | None = None
    """Of the problem that it failed with, and"""
    detail: str | None = None
    """what there is to say about it."""
    object_key: str | None = None
    """Where the store has its bytes, once it is done; so are all that follow."""
    sha256: str | None = None
    size_bytes: int | None = Field(default=None, sa_type=BigInteger)
    width: int | None = None
    height: int | None = None
    created_at: Moment = moment(now=True)
    done_at: Moment | None = moment(nullable=True)
