"""API keys of programs: made, and shown once."""

from collections.abc import Iterable
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from serving.auth import opaque
from serving.db.accounts import ApiKey
from serving.ids import new_id


async def create(
    session: AsyncSession,
    secret: bytes,
    tenant: str,
    name: str,
    scopes: Iterable[str],
    expires_at: datetime | None = None,
) -> tuple[str, ApiKey]:
    """A new key, which nobody can find out again, and its row. `secret`: what digests are keyed with."""
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
