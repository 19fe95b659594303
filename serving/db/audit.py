"""Tables: who did what, and who was refused what; and the chains that show that none of it was changed since."""

from sqlalchemy import BigInteger, Index, LargeBinary
from sqlmodel import Field, SQLModel

from serving.db.columns import Moment, moment, words


class AuditEntry(SQLModel, table=True):
    """A write or the use of a key, noted in its own transaction; or refusals or reads that were alike, noted together.

    It refers to nothing by key: what it tells of may be gone. It is never changed.
    """

    __tablename__ = "audit"  # type: ignore[assignment]
    __table_args__ = (
        Index("ix_audit_tenant", "tenant_id", "at", "id"),
        Index("ix_audit_actor", "tenant_id", "actor", "at", "id"),
        Index("ix_audit_operation", "tenant_id", "operation", "at", "id"),
        # Rows come in the order of time, which this kind of index makes do with almost no room.
        Index("ix_audit_at", "at", postgresql_using="brin"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str | None = None
    """Whose it is; None where nobody knows who asked, or where it is the system's: for the system's eyes only."""
    at: Moment = moment(now=True)
    kind: str
    """`write`, `read`, `grant`, `key` or `refusal`."""
    operation: str
    """Id of the operation that was asked for; of what is done to keys, what that was: `key.destroy`."""
    actor: str | None = None
    """Id of a key or user; `command`: an operator's; `server`: nobody's; None where nobody knows."""
    credential: str | None = None
    """Id of what they were recognised by: the key, or the session that a person signed in to; of commands, the user of
    the machine: `uid:1000`."""
    address: str | None = None
    """Where the request came from: the peer of its connection."""
    request_id: str | None = None
    """Of a write, a read or a grant."""
    write: str | None = None
    """Which write it was, see `serving.db.failpoints.Write`."""
    targets: list[str] = words()
    """Ids of what it was about, first those in the path, then those of what was made. Of what was granted, also what it
    is good for, and for how long."""
    code: str | None = None
    """The problem that a refusal was answered with."""
    count: int = 1
    """How many refusals, reads, grants or keys."""
    tag: bytes | None = Field(default=None, sa_type=LargeBinary)
    """[32] See `serving.audit.lines.tag`; None of one from before there were tags."""


class AuditPending(SQLModel, table=True):
    """An entry that has no place in its chain yet."""

    __tablename__ = "audit_pending"  # type: ignore[assignment]
    __table_args__ = (Index("ix_audit_pending_order", "tagged", "id"),)

    id: str = Field(primary_key=True)
    tenant_id: str | None = None
    """Of the entry."""
    tagged: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    """Not one from before there were tags."""


class AuditLink(SQLModel, table=True):
    """The place of an entry in its chain."""

    __tablename__ = "audit_link"  # type: ignore[assignment]
    # In all chains together, an entry has one place.
    __table_args__ = (Index("ix_audit_link_id", "id", unique=True),)

    chain: str = Field(primary_key=True)
    """Id of the tenant; empty: the system's."""
    number: int = Field(primary_key=True, sa_type=BigInteger)
    """Counts from 1, in each chain."""
    id: str
    """Of the entry; no key, for that the entry is gone has to be seen."""
    mac: bytes = Field(sa_type=LargeBinary)
    """[32] See `serving.audit.lines.link`."""


class AuditHead(SQLModel, table=True):
    """Where a chain begins and ends: what `serving.audit.lines.Head` says of each field."""

    __tablename__ = "audit_head"  # type: ignore[assignment]

    chain: str = Field(primary_key=True)
    ordinal: int = Field(sa_type=BigInteger)
    chains: int = Field(sa_type=BigInteger)
    tagged: int = Field(sa_type=BigInteger)
    first: int = Field(sa_type=BigInteger)
    first_mac: bytes = Field(sa_type=LargeBinary)
    cleared: Moment | None = moment(nullable=True)
    number: int = Field(sa_type=BigInteger)
    mac: bytes = Field(sa_type=LargeBinary)
    seal: bytes = Field(sa_type=LargeBinary)
    """[32]; empty for good where the head was found altered."""


class AuditKey(SQLModel, table=True):
    """The key of the log, wrapped by the master key. There is one."""

    __tablename__ = "audit_key"  # type: ignore[assignment]

    version: int = Field(primary_key=True)
    """1."""
    wrapped: bytes = Field(sa_type=LargeBinary)
    master: str
    """Name of the master key."""
    created_at: Moment = moment(now=True)
