"""Tables: jobs and what they leave behind. The job table is the queue (docs/decisions/0010)."""

from typing import Any

from sqlalchemy import BigInteger, ForeignKeyConstraint, Index, LargeBinary
from sqlmodel import Field, SQLModel

from serving.db.columns import Moment, document, moment, words


class Job(SQLModel, table=True):
    """One analysis of one video.

    Whoever works on it holds a lease, and the fence that was handed out with it. Every later write names that fence: of
    two who believe that a job is theirs, only the one who claimed it last can still write.
    """

    __table_args__ = (
        Index("ix_job_claim", "state", "run_after", postgresql_where="state = 'queued'"),
        Index("ix_job_lease", "lease_until", postgresql_where="state = 'running'"),
        # Of those with the same features one runs at a time, whoever claims them.
        Index("ix_job_running", "tenant_id", "feature_key", unique=True, postgresql_where="state = 'running'"),
        # For the metrics, which count jobs that ended lately.
        Index("ix_job_finished", "finished_at", postgresql_include=["state"]),
        Index("ix_job_tenant_created", "tenant_id", "created_at", "id"),
        Index("ix_job_tenant_state", "tenant_id", "state", "created_at", "id"),
        # Without the tenant, so that they serve what is deleted with a video, too.
        Index("ix_job_video", "video_id", "created_at", "id"),
        Index("ix_job_batch", "batch_id", "created_at", "id", postgresql_where="batch_id IS NOT NULL"),
        # For the clean-up, which asks whether anybody still wants what is kept of them.
        Index("ix_job_features", "tenant_id", "feature_key"),
    )

    tenant_id: str = Field(primary_key=True, foreign_key="tenant.id")
    id: str = Field(primary_key=True)
    """The caller's own, or ours."""
    video_id: str = Field(foreign_key="video.id", ondelete="CASCADE")
    spec: dict[str, Any] = document()
    """`pipeline.spec.AnalysisSpec`, as JSON."""
    feature_key: str
    state: str = "queued"
    """`queued`, `running`, `succeeded`, `failed` or `canceled`."""
    priority: int = 0
    """Higher goes first, within a tenant."""
    batch_id: str | None = None
    attempt: int = 0
    """How often it was claimed."""
    deaths: int = 0
    """How often whoever had claimed it was not heard of again."""
    max_attempts: int = 5
    timeout_s: float | None = None
    """How long one attempt may take, seconds; none: as the worker's settings say."""
    fence: int = Field(default=0, sa_type=BigInteger)
    worker: str | None = None
    lease_until: Moment | None = moment(nullable=True)
    run_after: Moment = moment(now=True)
    cancel_requested: bool = False
    progress: dict[str, Any] = document()
    error: dict[str, Any] | None = document(nullable=True)
    metrics: dict[str, Any] = document()
    event_number: int = Field(default=0, sa_type=BigInteger)
    """Of its latest event."""
    created_at: Moment = moment(now=True)
    started_at: Moment | None = moment(nullable=True)
    finished_at: Moment | None = moment(nullable=True)


class IdempotencyKey(SQLModel, table=True):
    """What a request that is named by its sender came to; the same again gets the same answer."""

    __tablename__ = "idempotency_key"  # type: ignore[assignment]

    tenant_id: str = Field(primary_key=True, foreign_key="tenant.id")
    operation: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    digest: bytes = Field(sa_type=LargeBinary)
    """SHA-256 of the request's body."""
    target: str
    """Id of what was made."""
    created_at: Moment = moment(now=True, index=True)


class Checkpoint(SQLModel, table=True):
    """What an engine made of one Clip, kept until the job that it belongs to is done."""

    __table_args__ = (Index("ix_checkpoint_video", "video_id"),)

    tenant_id: str = Field(primary_key=True)
    feature_key: str = Field(primary_key=True)
    clip: str = Field(primary_key=True)
    """Names the Clip by what is asked of it."""
    video_id: str = Field(foreign_key="video.id", ondelete="CASCADE")
    """Of which video the Clip was: its key opens the output. Another one of the same bytes may use it meanwhile."""
    output: bytes = Field(sa_type=LargeBinary)
    """`pipeline.frames.ClipOutput`, as msgpack, sealed."""
    created_at: Moment = moment(now=True)


class Event(SQLModel, table=True):
    """Something that happened to a job, in the order in which it did."""

    __table_args__ = (ForeignKeyConstraint(["tenant_id", "job_id"], ["job.tenant_id", "job.id"], ondelete="CASCADE"),)

    tenant_id: str = Field(primary_key=True)
    job_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_type=BigInteger)
    """Counts from 1, without gaps: given out under the lock of the job's row."""
    kind: str
    data: dict[str, Any] = document()
    created_at: Moment = moment(now=True)


class Endpoint(SQLModel, table=True):
    """Where a tenant wants to be told."""

    __tablename__ = "webhook_endpoint"  # type: ignore[assignment]

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id", index=True)
    sealed: bytes | None = Field(default=None, sa_type=LargeBinary)
    """`serving.webhooks.confidential.EndpointSecrets`: its URL, and what is signed with. None where it is from before
    they were sealed; then it has these three as they are:"""
    url: str | None = None
    secret: str | None = None
    previous_secret: str | None = None
    description: str = ""
    events: list[str] = words()
    """Types of events it gets; empty: all."""
    previous_until: Moment | None = moment(nullable=True)
    """Until when the secret before signs as well, so that receivers can change over."""
    disabled_at: Moment | None = moment(nullable=True)
    disabled_reason: str | None = None
    created_at: Moment = moment(now=True)


class Message(SQLModel, table=True):
    """The outbox: what tenants are to be told, written in the transaction that made it true."""

    __tablename__ = "webhook_message"  # type: ignore[assignment]
    __table_args__ = (
        Index("ix_webhook_message_source", "tenant_id", "source", unique=True),
        Index("ix_webhook_message_created", "created_at"),
        Index("ix_webhook_message_video", "video_id"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    type: str
    source: str
    """What it is about: `job_...:succeeded`. The same thing is told once."""
    video_id: str | None = Field(default=None, foreign_key="video.id", ondelete="CASCADE")
    """The video that it is about, with which it goes."""
    payload: dict[str, Any] = document()
    created_at: Moment = moment(now=True)


class Delivery(SQLModel, table=True):
    """A message on its way to one endpoint."""

    __tablename__ = "webhook_delivery"  # type: ignore[assignment]
    __table_args__ = (
        Index("ix_webhook_delivery_due", "next_at", postgresql_where="state = 'pending'"),
        Index("ix_webhook_delivery_endpoint", "tenant_id", "endpoint_id", "id"),
        # For deleting a message, with which they go.
        Index("ix_webhook_delivery_message", "message_id"),
        Index("ix_webhook_delivery_waiting", "endpoint_id", "next_at", postgresql_where="state = 'pending'"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    endpoint_id: str = Field(foreign_key="webhook_endpoint.id", ondelete="CASCADE")
    message_id: str = Field(foreign_key="webhook_message.id", ondelete="CASCADE")
    state: str = "pending"
    """`pending`, `delivered` or `given_up`."""
    attempts: int = 0
    """Since it was last asked for; resending starts anew."""
    next_at: Moment = moment(now=True)
    """When it is due. Whoever takes it on moves this on, and knows by it whether it is still theirs."""
    last_status: int | None = None
    last_error: str | None = None
    delivered_at: Moment | None = moment(nullable=True)
    created_at: Moment = moment(now=True)


class Attempt(SQLModel, table=True):
    """One try to deliver, and what came of it."""

    __tablename__ = "webhook_attempt"  # type: ignore[assignment]

    delivery_id: str = Field(primary_key=True, foreign_key="webhook_delivery.id", ondelete="CASCADE")
    number: int = Field(primary_key=True)
    """Counts from 1, over all times that it was sent again."""
    tenant_id: str = Field(foreign_key="tenant.id")
    at: Moment = moment(now=True)
    """When it was over."""
    status: int | None = None
    """HTTP status; none where no answer came."""
    error: str | None = None
    duration_ms: int
