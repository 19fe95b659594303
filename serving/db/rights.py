"""Tables: what is to go, what has to stay, and what is gone."""

from sqlalchemy import Index, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text
from sqlmodel import Field, SQLModel

from serving.db.columns import Moment, document, moment


class Erasure(SQLModel, table=True):
    """That a video was erased. It says nothing about what was in it, and refers to nothing by key: all that is gone."""

    __table_args__ = (
        Index("ix_erasure_tenant", "tenant_id", "at", "id"),
        Index("ix_erasure_video", "video_id"),
        Index("ix_erasure_open", "at", postgresql_where=text("finished_at IS NULL")),
    )

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    video_id: str
    reason: str
    """`request`: somebody deleted it. `retention`: a rule did."""
    rule_id: str | None = None
    """Which rule; it may be gone, too."""
    counts: dict[str, int] = document()
    """What there was of it: kind -> rows or objects."""
    pending: list[str] = Field(sa_type=ARRAY(Text), nullable=False, default_factory=list)  # type: ignore[arg-type]
    """Objects that are still to be deleted. Nobody can read them: their keys went first."""
    at: Moment = moment(now=True)
    finished_at: Moment | None = moment(nullable=True)
    """When its objects were gone, and the journal knew of it (`serving.rights.journal`)."""


class LegalHold(SQLModel, table=True):
    """That a video has to stay for now, whoever or whatever would erase it. Its key to the video does not cascade: the
    database itself refuses to delete one that is held."""

    __tablename__ = "legal_hold"  # type: ignore[assignment]

    video_id: str = Field(primary_key=True, foreign_key="video.id")
    tenant_id: str = Field(foreign_key="tenant.id", index=True)
    reason: str
    placed_by: str
    """Id of a key or user."""
    placed_at: Moment = moment(now=True)


class RetentionRule(SQLModel, table=True):
    """How long videos of a tenant are kept: see `serving.rights.rules`."""

    __tablename__ = "retention_rule"  # type: ignore[assignment]
    __table_args__ = (
        Index("ix_retention_rule_label", "tenant_id", text("coalesce(label, '')"), unique=True),
        Index("ix_retention_rule_tenant", "tenant_id", "id"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    label: str | None = None
    """Videos that have this label; None: all that no rule with a label is about."""
    keep_days: int | None = None
    """Days after they came; None: for ever."""
    created_at: Moment = moment(now=True)
    updated_at: Moment = moment(now=True)
