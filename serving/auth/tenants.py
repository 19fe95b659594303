"""Tenants: made by who runs the server, and found."""

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.auth import keys
from serving.auth.principals import SCOPES
from serving.db.accounts import Tenant
from serving.ids import new_id


async def create(session: AsyncSession, secret: bytes, name: str) -> tuple[Tenant, str]:
    """A new tenant, and a first key, which may do everything in it. In a transaction of the server itself."""
    tenant = Tenant(id=new_id("ten"), name=name)
    session.add(tenant)
    await session.flush()
    await session.refresh(tenant)
    key, _ = await keys.create(session, secret, tenant.id, "first", SCOPES)
    return tenant, key


async def resolved(session: AsyncSession, tenant: str | None) -> str | None:
    """The id of the tenant that is meant: the one of this id, or where none is named, the only one that there is.
    None where there is no such one. In a transaction of the server itself."""
    query = select(Tenant.id).limit(2)
    found = (await session.exec(query if tenant is None else query.where(Tenant.id == tenant))).all()
    return found[0] if len(found) == 1 else None
