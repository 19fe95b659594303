"""Tables: who did what, and who was refused what."""

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from serving.db.columns import Moment, moment, words


class AuditEntry(SQLModel, table=True):
    """A write, noted in its own transaction, or refusals that were alike, noted together soon after.

    It refers to nothing by key: what it tells of may be gone.
    """

    __tablename__ = "audit"  # type: ignore[assignment]
    __table_args__ = (
        Index("ix_audit_tenant", "tenant_id", "at", "id"),
        Index("ix_audit_actor", "tenant_id", "actor", "at", "id"),
        Index("ix_audit_operation", "tenant_id", "operation", "at", "id"),
        # For cleaning. Rows come in the order of time, which this kind of index makes do with almost no room.
        Index("ix_audit_at", "at", postgresql_using="brin"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str | None = None
    """Whose it is; None where nobody knows who asked, for the system's eyes only."""
    at: Moment = moment(now=True)
    kind: str
    """`write` or `refusal`."""
    operation: str
    """Id of the operation that was asked for."""
    actor: str | None = None
    """Id of a key or user; None where nobody knows."""
    credential: str | None = None
    """Id of what they were recognised by: the key, or the session that a person signed in to."""
    address: str | None = None
    """Where the request came from: the peer of its connection."""
    request_id: str | None = None
    """Of a write."""
    write: str | None = None
    """Which write it was, see `serving.db.failpoints.Write`."""
    targets: list[str] = words()
    """Ids of what it was about, first those in the path, then those of what was made."""
    code: str | None = None
    """The problem that a refusal was answered with."""
    count: int = 1
    """How many refusals."""
