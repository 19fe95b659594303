"""Tables: what may still be done now."""

from sqlmodel import Field, SQLModel

from serving.db.columns import Moment, moment


class RateBucket(SQLModel, table=True):
    """Tokens that somebody has left. Not logged: after a crash of the database all buckets are full, which harms
    nobody, and until then no request waits for a disk."""

    __tablename__ = "rate_bucket"  # type: ignore[assignment]
    __table_args__ = {"prefixes": ["UNLOGGED"], "postgresql_with": {"fillfactor": 50}}

    bucket: str = Field(primary_key=True)
    tokens: float
    """How many there were at `at`."""
    granted: int
    """How many were handed out then."""
    at: Moment = moment()
    full_at: Moment = moment(index=True)
    """When there is nothing to be remembered any more."""
