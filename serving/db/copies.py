"""Tables: what videos look like, whatever the model, and which of them share stretches.

Looks are no model's space: they are made of what is measured of each frame anyway (`pipeline.looks`), nobody searches
them by text, and they stay when models are replaced. So they lie apart from moments.
"""

from typing import Any

from sqlalchemy import Column, Index
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Float
from sqlmodel import Field, SQLModel

from serving.db.columns import Moment, document, moment
from serving.db.vectors import Halfvec

LOOKS_DIM = 147
"""`pipeline.looks.DIM`."""


class Look(SQLModel, table=True):
    """What a sampled frame of a video looks like. Frames that show nothing (black, blank) have none."""

    __table_args__ = (Index("ix_look_video", "tenant_id", "video_id", "position"),)

    video_id: str = Field(primary_key=True, foreign_key="video.id", ondelete="CASCADE")
    position: int = Field(primary_key=True)
    """Counts the samples of the video, from 0 on; those that show nothing count, too."""
    tenant_id: str = Field(foreign_key="tenant.id")
    pts_s: float
    vector: Any = Field(sa_column=Column(Halfvec(LOOKS_DIM), nullable=False))
    """Of length 1."""


class VideoLooks(SQLModel, table=True):
    """That the looks of a video are known, and how far the search for its copies is. A video without such a row was
    analysed before there were looks, or never."""

    __tablename__ = "video_looks"  # type: ignore[assignment]
    __table_args__ = (
        Index("ix_video_looks_due", "tenant_id", "next_at", postgresql_where="state = 'due'"),
        Index("ix_video_looks_state", "tenant_id", "state"),
    )

    video_id: str = Field(primary_key=True, foreign_key="video.id", ondelete="CASCADE")
    tenant_id: str = Field(foreign_key="tenant.id")
    blank_s: list[float] = Field(sa_type=ARRAY(Float), nullable=False, default_factory=list)  # type: ignore[arg-type]
    """Times of the samples that show nothing, seconds: a copy shows nothing there, either."""
    state: str = "due"
    """`due`: copies are to be looked for. `done`: they were. `failed`: whoever began to was not heard of again."""
    next_at: Moment = moment(now=True)
    """From when on somebody may take it on: whoever does moves it on."""
    attempts: int = 0
    fence: int = 0
    """Counts who took it on, and each new report: whoever has an old number writes nothing."""
    looked_at: Moment | None = moment(nullable=True)
    """When copies of it were looked for last."""


class VideoCopy(SQLModel, table=True):
    """Two videos that share stretches."""

    __tablename__ = "video_copy"  # type: ignore[assignment]
    __table_args__ = (
        Index("ix_video_copy_pair", "first_id", "second_id", unique=True),
        Index("ix_video_copy_second", "second_id"),
        Index("ix_video_copy_moments", "tenant_id", "moments", "id"),
        Index("ix_video_copy_found_at", "tenant_id", "found_at", "id"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    first_id: str = Field(foreign_key="video.id", ondelete="CASCADE")
    """Of both ids, the one that sorts first."""
    second_id: str = Field(foreign_key="video.id", ondelete="CASCADE")
    first_share: float
    """How much of the first one the second shows, 0 to 1."""
    second_share: float
    likeness: float
    """How much alike both are along what they share, 0 to 1."""
    moments: float
    """Different pictures that agree, of all stretches: what it is evidenced by."""
    stretches: list[Any] = document()
    """Of `serving.copies.pairs.Stretch`, the best first."""
    found_at: Moment = moment(now=True)
