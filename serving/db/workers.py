"""Tables: who works. They belong to the server, not to a tenant; only the system sees them."""

from typing import Any

from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from serving.db.columns import Moment, moment


class WorkerRow(SQLModel, table=True):
    """A worker as it last said that it is. One that ended well has no row."""

    __tablename__ = "worker"  # type: ignore[assignment]

    id: str = Field(primary_key=True)
    host: str
    pid: int
    version: str
    """Of the package."""
    slots: int
    """Jobs that it runs at once, at most."""
    busy: int
    """Jobs that it runs."""
    models: list[dict[str, Any]] = Field(sa_type=JSONB, nullable=False)
    """`serving.workers.ModelReport`, as JSON."""
    started_at: Moment = moment(now=True)
    seen_at: Moment = moment(now=True, index=True)
