"""API keys of programs: made, and shown once."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.auth import opaque
from serving.db.accounts import ApiKey, Tenant
from serving.errors import Conflict
from serving.ids import new_id

#: Keys of one tenant that are not revoked.
MAX_KEYS: Final = 1000


async def create(
    session: AsyncSession,
    secret: bytes,
    tenant: str,
    name: str,
    scopes: Iterable[str],
    expires_at: datetime | None = None,
) -> tuple[str, ApiKey]:
    """A new key, which nobody can find out again, and its row. `secret`: what digests are keyed with.

    Raises:
        Conflict: the tenant has as many as one may have.
    """
    # Taken in turns, so that two at once do not both find room for one more.
    await session.get_one(Tenant, tenant, with_for_update={"key_share": True})
    theirs = select(func.count()).where(col(ApiKey.tenant_id) == tenant, col(ApiKey.revoked_at).is_(None))
    if (await session.exec(theirs)).one() >= MAX_KEYS:
        raise Conflict(f"there are {MAX_KEYS} keys already; revoke one first")
    key = opaque.new_key()
    row = ApiKey(
        id=new_id("key"),
        tenant_id=tenant,
        name=name,
        hint=opaque.hint(key),
        digest=opaque.digest(secret, key),
        scopes=sorted(set(scopes)),
        expires_at=expires_at,
    )
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return key, row
