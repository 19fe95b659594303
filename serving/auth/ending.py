"""The end of sessions, whoever brings it about. A row says when and why; within a second it is felt everywhere."""

from datetime import timedelta

from sqlalchemy import func, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.auth.errors import SignInAgain
from serving.db.accounts import UserSession


async def require_fresh(session: AsyncSession, tenant: str, session_id: str, fresh_s: int) -> None:
    """Raises SignInAgain where a session was begun, with the password, longer ago than so many seconds."""
    fresh = select(UserSession.id).where(
        UserSession.tenant_id == tenant,
        UserSession.id == session_id,
        col(UserSession.created_at) > func.now() - timedelta(seconds=fresh_s),
    )
    if (await session.exec(fresh)).first() is None:
        raise SignInAgain("you signed in too long ago for this: sign in again, and do it in that session")


async def end(session: AsyncSession, tenant: str, user_id: str, session_id: str) -> bool:
    """End a session of a user; whether there is such a one. One that is over stays as it is."""
    mine = (col(UserSession.user_id) == user_id, col(UserSession.id) == session_id)
    await session.exec(ending(tenant, "signed out").where(*mine))
    there = select(UserSession.id).where(UserSession.tenant_id == tenant, *mine)
    return (await session.exec(there)).first() is not None


async def end_all(session: AsyncSession, tenant: str, user_id: str, reason: str, *, but: str | None = None) -> None:
    """End all sessions of a user; `but` is the one that goes on."""
    theirs = ending(tenant, reason).where(col(UserSession.user_id) == user_id)
    await session.exec(theirs if but is None else theirs.where(col(UserSession.id) != but))


def ending(tenant: str, reason: str):
    """An update that ends the tenant's sessions that go on, of which it is still to be said which ones."""
    return (
        update(UserSession)
        .where(col(UserSession.tenant_id) == tenant, col(UserSession.revoked_at).is_(None))
        .values(revoked_at=func.now(), revoked_reason=reason)
    )
