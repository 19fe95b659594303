"""Tables: who may do what."""

from sqlalchemy import BigInteger, LargeBinary, UniqueConstraint
from sqlmodel import Field, SQLModel

from serving.db.columns import Moment, moment, words


class Tenant(SQLModel, table=True):
    """Whom everything belongs to; two tenants never see each other."""

    id: str = Field(primary_key=True)
    name: str
    quota_bytes: int | None = Field(default=None, sa_type=BigInteger)
    """What it may keep: see `serving.uploads.quota`. None: what the setting says; 0: as much as there is room for."""
    url_generation: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """How often the signed URLs of all its videos were revoked."""
    quota_minutes: int | None = Field(default=None, sa_type=BigInteger)
    """How much video it may keep: see `serving.uploads.minutes`. None and 0 as above."""
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


class User(SQLModel, table=True):
    """A person who signs in."""

    __tablename__ = "app_user"  # type: ignore[assignment]
    __table_args__ = (UniqueConstraint("tenant_id", "email", name="uq_app_user_email"),)

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    email: str
    """In lower case; nobody else's in the tenant."""
    name: str
    role: str
    """`viewer`, `editor` or `admin`."""
    password_hash: str | None
    """By Argon2id, with its salt and parameters; None of who was invited and has set none yet."""
    disabled_at: Moment | None = moment(nullable=True)
    created_at: Moment = moment(now=True)
    updated_at: Moment = moment(now=True)


class UserSession(SQLModel, table=True):
    """What a person began by signing in: a family of refresh tokens, each made of the one before."""

    __tablename__ = "session"  # type: ignore[assignment]

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    user_id: str = Field(foreign_key="app_user.id", ondelete="CASCADE", index=True)
    created_at: Moment = moment(now=True)
    used_at: Moment = moment(now=True)
    """When it was begun, or last refreshed."""
    expires_at: Moment = moment()
    revoked_at: Moment | None = moment(nullable=True)
    revoked_reason: str | None = None


class Invitation(SQLModel, table=True):
    """What lets a user set a password, once."""

    user_id: str = Field(primary_key=True, foreign_key="app_user.id", ondelete="CASCADE")
    tenant_id: str = Field(foreign_key="tenant.id")
    digest: bytes = Field(sa_type=LargeBinary, unique=True)
    """As that of an API key."""
    created_at: Moment = moment(now=True)
    expires_at: Moment = moment()


class RefreshToken(SQLModel, table=True):
    """A token that is good for going on with a session, once."""

    __tablename__ = "refresh_token"  # type: ignore[assignment]

    digest: bytes = Field(sa_type=LargeBinary, primary_key=True)
    """As that of an API key."""
    tenant_id: str = Field(foreign_key="tenant.id")
    session_id: str = Field(foreign_key="session.id", ondelete="CASCADE", index=True)
    created_at: Moment = moment(now=True)
    expires_at: Moment = moment()
    used_at: Moment | None = moment(nullable=True)
