"""Column types that all tables share."""

from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import Text
from sqlmodel import Field


def moment(*, nullable: bool = False, now: bool = False, index: bool = False) -> Any:
    """A point in time, with its zone.

    Args:
        now: the database's clock fills it in. Clocks of processes are never compared with one another.
    """
    default: dict[str, Any] = {"default": None} if nullable or now else {}
    column = {"server_default": func.now()} if now else {}
    return Field(
        sa_type=DateTime(timezone=True),  # type: ignore[arg-type]
        nullable=nullable,
        index=index,
        sa_column_kwargs=column,
        **default,
    )


def document(*, nullable: bool = False) -> Any:
    """A JSON document."""
    if nullable:
        return Field(sa_type=JSONB, nullable=True, default=None)
    return Field(sa_type=JSONB, nullable=False, default_factory=dict)


def words() -> Any:
    """A list of texts."""
    return Field(sa_type=ARRAY(Text), nullable=False, default_factory=list)  # type: ignore[arg-type]


Moment = datetime
