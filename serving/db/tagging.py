"""Tables: vocabularies that stand for a library. What they find in each video, what people said of that, and what was
learnt of what they said.

`video_tag` and `tag_span` are where a video is found by its tags, whoever they are from; these are where they come
from.
"""

from typing import Any

from sqlalchemy import BigInteger, Column, Computed, ForeignKeyConstraint, Index, LargeBinary, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from serving.db.columns import Moment, document, moment, words


class Tagging(SQLModel, table=True):
    """A run over a library: each of its videos is tagged anew by one vocabulary."""

    __table_args__ = (
        Index("ix_tagging_claim", "run_after", postgresql_where="state IN ('queued', 'running')"),
        Index("ix_tagging_tenant", "tenant_id", "id"),
        # One at a time: who begins another ends the one before.
        Index("ix_tagging_live", "vocabulary_id", unique=True, postgresql_where="state IN ('queued', 'running')"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    vocabulary_id: str = Field(foreign_key="vocabulary.id", ondelete="CASCADE")
    reason: str
    """`applied`, `replaced`, `learned`, `undone` or `space`."""
    state: str = "queued"
    """`queued`, `running`, `succeeded`, `failed` or `canceled`."""
    space: str | None = None
    """Whose vectors are read; none before it began."""
    total: int | None = None
    """Videos that there were when it began."""
    done: int = 0
    changed: int = 0
    """Videos whose tags are others now."""
    gained: int = 0
    """Tags that videos got."""
    lost: int = 0
    decodes: int = 0
    """Frames that were decoded for it: none, ever; counted, so that it shows."""
    texts: int = 0
    """Texts that a text tower was asked for."""
    cursor: str = ""
    """Id of the last video that is done."""
    fence: int = Field(default=0, sa_type=BigInteger)
    attempt: int = 0
    """How often it was claimed since it last came forward."""
    worker: str | None = None
    lease_until: Moment | None = moment(nullable=True)
    run_after: Moment = moment(now=True)
    error: dict[str, Any] | None = document(nullable=True)
    created_at: Moment = moment(now=True)
    started_at: Moment | None = moment(nullable=True)
    finished_at: Moment | None = moment(nullable=True)


class Untagged(SQLModel, table=True):
    """A video whose vectors are new: vocabularies that stand have not looked at it yet. Rows live for moments."""

    __table_args__ = (Index("ix_untagged_due", "run_after"),)

    video_id: str = Field(primary_key=True, foreign_key="video.id", ondelete="CASCADE")
    tenant_id: str = Field(foreign_key="tenant.id")
    run_after: Moment = moment(now=True)


class Phrase(SQLModel, table=True):
    """What a text tower made of a text: it is asked once."""

    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "space"], ["space.tenant_id", "space.space"], ondelete="CASCADE"),
    )

    tenant_id: str = Field(primary_key=True, foreign_key="tenant.id")
    space: str = Field(primary_key=True)
    digest: bytes = Field(primary_key=True, sa_type=LargeBinary)
    """SHA-256 of the text."""
    vector: bytes = Field(sa_type=LargeBinary)
    """float32 [D], little-endian, of length 1."""


class FoundTags(SQLModel, table=True):
    """What a vocabulary that stands finds in a video, before anybody said anything of it."""

    __tablename__ = "found_tags"  # type: ignore[assignment]
    __table_args__ = (Index("ix_found_tags_vocabulary", "vocabulary_id"),)

    video_id: str = Field(primary_key=True, foreign_key="video.id", ondelete="CASCADE")
    vocabulary_id: str = Field(primary_key=True, foreign_key="vocabulary.id", ondelete="CASCADE")
    tenant_id: str = Field(foreign_key="tenant.id")
    space: str
    tags: list[Any] = Field(sa_type=JSONB, nullable=False)
    """`pipeline.report.Tag`, as JSON; no categories."""
    stamp: str
    """Names what the video is found by of this, what was said of it included: where it is the same, nothing need be
    written anew."""
    tagged_at: Moment = moment(now=True)


class Correction(SQLModel, table=True):
    """What somebody said of a label in a stretch of a video. The latest holds."""

    __table_args__ = (
        Index("ix_correction_thing", "video_id", "origin", "label", "from_s", "to_s", unique=True),
        Index("ix_correction_label", "tenant_id", "origin", "label"),
        Index("ix_correction_tenant", "tenant_id", "id"),
        Index("ix_correction_vocabulary", "vocabulary_id"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    vocabulary_id: str | None = Field(default=None, foreign_key="vocabulary.id", ondelete="CASCADE")
    """None: of the tags of the video's report."""
    origin: str = Field(default=None, sa_column=Column(Text, Computed("coalesce(vocabulary_id, '')", persisted=True)))
    """As `video_tag` has it."""
    label: str
    video_id: str = Field(foreign_key="video.id", ondelete="CASCADE")
    from_s: float
    to_s: float
    """-1: to the end of the video."""
    accepted: bool
    created_at: Moment = moment(now=True)
    judged_at: Moment = moment(now=True)
    """When it was said last."""


class Learning(SQLModel, table=True):
    """A label of which something is to be learnt, and what came of it the last time."""

    __table_args__ = (Index("ix_learning_due", "changed_at", postgresql_where="state <> 'done'"),)

    vocabulary_id: str = Field(primary_key=True, foreign_key="vocabulary.id", ondelete="CASCADE")
    label: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    state: str = "due"
    """`due`, `running`, `done` or `failed`."""
    changed_at: Moment = moment(now=True)
    """When something was said of it last."""
    asked: bool = False
    """Whether it is to be learnt now, without waiting for more to be said."""
    fence: int = Field(default=0, sa_type=BigInteger)
    attempt: int = 0
    lease_until: Moment | None = moment(nullable=True)
    outcome: dict[str, Any] | None = document(nullable=True)
    """`serving.tagging.learning.Outcome`, as JSON."""


class LearnedLabel(SQLModel, table=True):
    """Something that was learnt for a label, in one space. The latest that was not undone holds."""

    __tablename__ = "learned_label"  # type: ignore[assignment]
    __table_args__ = (
        Index("ix_learned_label_number", "vocabulary_id", "label", "number", unique=True),
        Index("ix_learned_label_tenant", "tenant_id", "vocabulary_id", "id"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    vocabulary_id: str = Field(foreign_key="vocabulary.id", ondelete="CASCADE")
    label: str
    number: int
    """Counts what was learnt for the label, from 1."""
    space: str
    basis: str
    """Names the label's words and threshold that it was learnt beside: with others, it does not hold."""
    kind: str
    """`threshold` or `head`."""
    threshold: float
    head: bytes | None = Field(default=None, sa_type=LargeBinary)
    """A file as `models.heads` writes it."""
    accepted: int
    """Examples of each kind that it was learnt from."""
    rejected: int
    before: dict[str, Any] = document()
    """Cross-validated precision, recall and F1 of what there was, and then `after`."""
    after: dict[str, Any] = document()
    gained: int = 0
    """Videos that got the tag by it, and that lost it."""
    lost: int = 0
    gained_videos: list[str] = words()
    """The first of them."""
    lost_videos: list[str] = words()
    created_at: Moment = moment(now=True)
    undone_at: Moment | None = moment(nullable=True)
