"""API keys, as their administrators manage them."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Controller, delete, get, post
from litestar.params import Parameter
from sqlalchemy import text
from sqlmodel import col, select

from pipeline.record import Record
from serving.api.access import needs
from serving.api.page import DEFAULT_LIMIT, MAX_LIMIT, Page, decode_cursor, page_of
from serving.auth import keys
from serving.auth.principals import Principal, Scope, require_within
from serving.db.accounts import ApiKey
from serving.db.database import Database
from serving.errors import InvalidRequest, NotFound

KeyId = Annotated[str, Parameter(pattern=r"^key_[0-9A-Z]{26}$", description="Id of a key")]


class KeyRequest(Record, frozen=True, kw_only=True):
    """What a key is to be good for."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    scopes: Annotated[tuple[Scope, ...], msgspec.Meta(min_length=1, max_length=20)]
    expires_at: datetime | None = None


class KeyView(Record, frozen=True, kw_only=True):
    """A key, without what it is."""

    id: str
    name: str
    hint: str
    """Its first characters."""
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewKey(Record, frozen=True, kw_only=True):
    """A key, shown this once."""

    key: str
    about: KeyView


def view(key: ApiKey) -> KeyView:
    """A row as callers see it."""
    return KeyView(
        id=key.id,
        name=key.name,
        hint=key.hint,
        scopes=tuple(key.scopes),
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
    )


class ApiKeys(Controller):
    """`/v1/keys`"""

    path = "/v1/keys"
    tags = ("keys",)

    @post(operation_id="create_key", **needs("keys:manage"), summary="Make a key")
    async def create(self, principal: Principal, database: Database, secret: bytes, data: KeyRequest) -> NewKey:
        """Make a key. It is shown in this answer and never again. Nobody gives more than they have. A tenant may have
        1,000 that are not revoked."""
        require_within(principal, frozenset(data.scopes))
        if data.expires_at is not None and data.expires_at.tzinfo is None:
            raise InvalidRequest("a time without its zone", (("/expires_at", "add Z or an offset"),))
        async with database.write("key.create", principal.tenant_id) as session:
            key, row = await keys.create(session, secret, principal.tenant_id, data.name, data.scopes, data.expires_at)
            return NewKey(key=key, about=view(row))

    @get(operation_id="list_keys", **needs("keys:manage"), summary="All keys")
    async def many(
        self,
        principal: Principal,
        database: Database,
        limit: Annotated[int, Parameter(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
        cursor: Annotated[str | None, Parameter(max_length=512, required=False)] = None,
    ) -> Page[KeyView]:
        """Keys, latest first; those that were revoked, too."""
        mine = ApiKey.tenant_id == principal.tenant_id
        query = select(ApiKey).where(mine).order_by(col(ApiKey.id).desc()).limit(limit + 1)
        if cursor is not None:
            query = query.where(col(ApiKey.id) < decode_cursor(cursor, str))
        async with database.read(principal.tenant_id) as session:
            rows = (await session.exec(query)).all()
        return page_of(rows, limit, view, lambda key: key.id)

    @delete("/{key_id:str}", operation_id="revoke_key", **needs("keys:manage"), summary="Revoke a key")
    async def revoke(self, principal: Principal, database: Database, key_id: KeyId) -> None:
        """Revoke a key: within a second it is good for nothing, at any process. Again, nothing happens. Nobody revokes
        a key that may do more than they."""
        async with database.write("key.revoke", principal.tenant_id) as session:
            query = select(ApiKey).where(ApiKey.tenant_id == principal.tenant_id, ApiKey.id == key_id)
            key = (await session.exec(query)).one_or_none()
            if key is None:
                raise NotFound("there is no such key")
            require_within(principal, frozenset(key.scopes))
            if key.revoked_at is None:
                key.revoked_at = text("now()")  # type: ignore[assignment]
                session.add(key)
