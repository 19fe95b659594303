"""Tables: who may do what."""

from sqlalchemy import LargeBinary
from sqlmodel import Field, SQLModel

from serving.db.columns import Moment, moment, words


class Tenant(SQLModel, table=True):
    """Whom everything belongs to; two tenants never see each other."""

    id: str = Field(primary_key=True)
    name: str
    created_at: Moment = moment(now=True)


class ApiKey(SQLModel, table=True):
    """A key of a program. What it looked like is known only to whom it was shown once."""

    __tablename__ = "api_key"  # type: ignore[assignment]

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id", index=True)
    name: str
    hint: str
    """Its first characters, so that its owner recognises it."""
    digest: bytes = Field(sa_type=LargeBinary, unique=True)
    """HMAC-SHA256 of the key, under a secret that the database does not hold."""
    scopes: list[str] = words()
    created_at: Moment = moment(now=True)
    expires_at: Moment | None = moment(nullable=True)
    revoked_at: Moment | None = moment(nullable=True)
