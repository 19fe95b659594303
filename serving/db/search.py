"""Tables: what is searched. One row for each sampled frame and each key segment, in each space that it is known in.

Vectors of several spaces lie side by side; nobody compares them. A space is a tenant's: which of theirs answers is in
its row, so that a change of it is one update.
"""

from typing import Any

from sqlalchemy import Column, Float, ForeignKeyConstraint, Index, LargeBinary, Text, text
from sqlmodel import Field, SQLModel

from serving.db.columns import Moment, document, moment
from serving.db.vectors import Halfvec


class Space(SQLModel, table=True):
    """A vector space that a tenant has moments in."""

    __table_args__ = (
        # One answers at a time.
        Index("ix_space_active", "tenant_id", unique=True, postgresql_where="state = 'active'"),
    )

    tenant_id: str = Field(primary_key=True, foreign_key="tenant.id")
    space: str = Field(primary_key=True)
    """`models.base.ModelInfo.space`."""
    dim: int
    model: str
    """What jobs ask for to get vectors of it."""
    scale: float
    bias: float | None = None
    """`models.base.Likelihood` of the model."""
    state: str = "side"
    """`active`: searches are answered from it. `shadow`: every video is put into it, too, so that it may answer.
    `side`: what was analysed with its model alone is in it. `leaving`: it is about to be removed. `removed`: it was; a
    job or somebody who asks for it brings it back."""
    created_at: Moment = moment(now=True)
    retry_at: Moment | None = moment(nullable=True)
    """Until when nothing is put into it, since its model was away; None where it was not."""
    error: dict[str, Any] | None = document(nullable=True)
    """Why it was away."""


class SpaceDue(SQLModel, table=True):
    """A video that is to be put into a space. Gone once it is in it."""

    __tablename__ = "space_due"  # type: ignore[assignment]
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "space"], ["space.tenant_id", "space.space"], ondelete="CASCADE"),
        Index("ix_space_due_next_at", "tenant_id", "next_at"),
        Index("ix_space_due_space", "tenant_id", "space"),
    )

    space: str = Field(primary_key=True)
    video_id: str = Field(primary_key=True, foreign_key="video.id", ondelete="CASCADE")
    tenant_id: str
    fence: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Counts who took it on; only the latest may write."""
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """That were begun, and not given back."""
    next_at: Moment = moment(now=True)
    """When somebody may take it on; for whoever has it, the end of the lease. Infinite once it is given up."""
    error: dict[str, Any] | None = document(nullable=True)
    """Why the last attempt failed."""


class SampledMoment(SQLModel, table=True):
    """A sampled frame of a video, in a space."""

    __tablename__ = "moment"  # type: ignore[assignment]
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "space"], ["space.tenant_id", "space.space"], ondelete="CASCADE"),
        Index("ix_moment_video", "tenant_id", "space", "video_id", "position"),
        # The first ones by it are a fixed random sample of the library, whatever comes and goes.
        Index("ix_moment_lot", "tenant_id", "space", "lot"),
    )

    video_id: str = Field(primary_key=True, foreign_key="video.id", ondelete="CASCADE")
    space: str = Field(primary_key=True)
    position: int = Field(primary_key=True)
    """Counts the samples of the video, from 0 on."""
    tenant_id: str = Field(foreign_key="tenant.id")
    shot: int
    """Which of the video's shots it is in, from 0 on."""
    pts_s: float
    start_s: float
    """From when to when it speaks for the video, as `end_s`; see `pipeline.tags.holding`."""
    end_s: float
    lot: float
    """Drawn once, in [0, 1)."""
    alike: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    """How many samples it leads, see `pipeline.indexing.alike`: the graph has those that lead some alone."""
    vector: Any = Field(sa_column=Column(Halfvec, nullable=False))


class SegmentVector(SQLModel, table=True):
    """A key segment of a video's latest report, in a space."""

    __tablename__ = "segment_vector"  # type: ignore[assignment]
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "space"], ["space.tenant_id", "space.space"], ondelete="CASCADE"),
        Index("ix_segment_vector_video", "tenant_id", "space", "video_id", "position"),
        Index("ix_segment_vector_lot", "tenant_id", "space", "lot"),
    )

    video_id: str = Field(primary_key=True, foreign_key="video.id", ondelete="CASCADE")
    space: str = Field(primary_key=True)
    position: int = Field(primary_key=True)
    """Its place among the report's segments, from 0 on."""
    tenant_id: str = Field(foreign_key="tenant.id")
    start_s: float
    end_s: float
    thumbnail_s: float
    score: float
    lot: float = Field(default=None, sa_column=Column(Float, nullable=False, server_default=text("random()")))
    """As that of a moment."""
    vector: Any = Field(sa_column=Column(Halfvec, nullable=False))
    """Mean of its samples, of length 1."""


class VideoVector(SQLModel, table=True):
    """A video as a whole, in a space: what is recommended is compared by it."""

    __tablename__ = "video_vector"  # type: ignore[assignment]
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "space"], ["space.tenant_id", "space.space"], ondelete="CASCADE"),
        Index("ix_video_vector_video", "tenant_id", "space", "video_id"),
        Index("ix_video_vector_lot", "tenant_id", "space", "lot"),
    )

    video_id: str = Field(primary_key=True, foreign_key="video.id", ondelete="CASCADE")
    space: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    start_s: float
    """From its first sample on, to `end_s`, which its last one speaks for."""
    end_s: float
    thumbnail_s: float
    """The sample nearest to `vector`: the frame that stands for it."""
    score: float
    """Of its best key segment; 0 where it has none."""
    lot: float = Field(default=None, sa_column=Column(Float, nullable=False, server_default=text("random()")))
    vector: Any = Field(sa_column=Column(Halfvec, nullable=False))
    """Mean of its samples, of length 1."""


class TagSpan(SQLModel, table=True):
    """A stretch of a video in which a label holds. `origin`, `label` and `alias_of`: as `media.VideoTag` has them."""

    __tablename__ = "tag_span"  # type: ignore[assignment]
    __table_args__ = (Index("ix_tag_span_label", "tenant_id", "label", "video_id"),)

    video_id: str = Field(primary_key=True, foreign_key="video.id", ondelete="CASCADE")
    origin: str = Field(default="", primary_key=True, sa_column_kwargs={"server_default": ""})
    label: str = Field(primary_key=True)
    start_s: float = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    end_s: float
    score: float
    alias_of: str | None = None


class Lexeme(SQLModel, table=True):
    """A word that something says about a video, as PostgreSQL's full text has it. A trigger keeps those of titles and
    tags; whoever transcribes writes those of transcripts.

    Row-level security lets an index be asked by operators that leak nothing only; `@@` is none. So words are rows.
    """

    __table_args__ = (Index("ix_lexeme_word", "tenant_id", "word", "video_id"),)

    video_id: str = Field(primary_key=True, foreign_key="video.id", ondelete="CASCADE")
    source: str = Field(primary_key=True)
    """`title`, `transcript`, or `tag:ORIGIN:LABEL`, as `tag_span` has them: words of two labels are not said
    together."""
    word: str = Field(sa_column=Column(Text(collation="C"), primary_key=True))
    start_s: float = Field(primary_key=True)
    """From when to when it is said, as `end_s`; -1 of what is said of the whole video."""
    tenant_id: str = Field(foreign_key="tenant.id")
    end_s: float


class Question(SQLModel, table=True):
    """Something that a worker's models are asked for a search, and what they answered. Rows live for seconds."""

    __table_args__ = (
        Index("ix_question_open", "created_at", postgresql_where="state = 'open'"),
        Index("ix_question_created_at", "created_at"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    model: str
    """As jobs ask for it."""
    asked: bytes = Field(sa_type=LargeBinary)
    """`serving.search.asking.Asked`, as msgpack, sealed."""
    state: str = "open"
    """`open`, `answered` or `refused`."""
    answer: bytes | None = Field(default=None, sa_type=LargeBinary)
    """`serving.search.asking.Answer`, likewise."""
    error: dict[str, Any] | None = document(nullable=True)
    created_at: Moment = moment(now=True)
