"""Tables: what tenants have their videos searched for."""

from typing import Any

from sqlalchemy import Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from serving.db.columns import Moment, moment


class Vocabulary(SQLModel, table=True):
    """Labels under a name. Jobs take a copy of them, so that what a job was asked for never changes."""

    __table_args__ = (Index("ix_vocabulary_tenant_name", "tenant_id", "name", unique=True),)

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    name: str
    description: str = ""
    labels: list[dict[str, Any]] = Field(sa_type=JSONB, nullable=False)
    """`pipeline.spec.Label`, as JSON."""
    version: int = 1
    """Counts its replacements: who replaces it says which version they saw."""
    applied_at: Moment | None = moment(nullable=True)
    """Since when it stands for the tenant's library; None: it does not."""
    created_at: Moment = moment(now=True)
    updated_at: Moment = moment(now=True)
