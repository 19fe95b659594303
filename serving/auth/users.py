"""People of a tenant: made, changed and deleted, so that a tenant which has an admin keeps one."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, delete, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.audit.acting import about
from serving.auth import ending
from serving.auth.principals import Role
from serving.db.accounts import Invitation, Tenant, User
from serving.db.statements import execute
from serving.errors import Conflict, NotFound
from serving.ids import new_id

#: What an email address looks like, and its length at most. Whether it leads to anybody is not looked into.
#: `$(?!\n)`: see `PLAIN_PATTERN`.
EMAIL_PATTERN: Final = r"^[^@\s\x00-\x1f\x7f-\x9f]+@[^@\s\x00-\x1f\x7f-\x9f]+$(?!\n)"
MAX_EMAIL_CHARS: Final = 254


def email_of(given: str) -> str:
    """An address as it is kept and looked up: in lower case."""
    return given.lower()


async def create(
    session: AsyncSession, tenant: str, email: str, name: str, role: Role, password_hash: str | None
) -> User:
    """A new user; without a password, they need an invitation.

    Raises:
        Conflict: the tenant has one with this email.
    """
    values = {
        "id": new_id("usr"),
        "tenant_id": tenant,
        "email": email_of(email),
        "name": name,
        "role": role,
        "password_hash": password_hash,
    }
    made = await execute(
        session,
        insert(User).values(values).on_conflict_do_nothing(constraint="uq_app_user_email").returning(col(User.id)),
    )
    user_id = made.scalar_one_or_none()
    if user_id is None:
        raise Conflict("there is a user with this email already")
    about(user_id)
    return await found(session, tenant, user_id)


async def found(session: AsyncSession, tenant: str, user_id: str, *, locked: bool = False) -> User:
    """A user of a tenant. `locked`: until the transaction ends.

    Raises:
        NotFound: the tenant has none of this id.
    """
    query = select(User).where(User.tenant_id == tenant, User.id == user_id)
    if locked:
        # Not against new sessions, which only need it to stay.
        query = query.with_for_update(key_share=True)
    user = (await session.exec(query)).one_or_none()
    if user is None:
        raise NotFound("there is no such user")
    return user


async def known_about(session: AsyncSession, tenant: str, email: str, name: str) -> tuple[str, ...]:
    """What everybody knows of somebody, who is a user or will be one: of none of it a password may be made."""
    return email, name, (await session.get_one(Tenant, tenant)).name


async def set_role(session: AsyncSession, user: User, role: Role) -> None:
    """Give a locked user a role; it counts for sessions that go on, too. Raises Conflict as `remove`."""
    if user.role == "admin" and role != "admin":
        await _require_another_admin(session, user)
    user.role = role


async def set_disabled(session: AsyncSession, user: User, disabled: bool) -> None:
    """Keep a locked user from signing in, and end their sessions and invitation; or let them sign in again. Raises
    Conflict as `remove`."""
    if disabled and user.disabled_at is None:
        await _require_another_admin(session, user)
        user.disabled_at = text("now()")  # type: ignore[assignment]
        await _withdraw(session, user)
        await ending.end_all(session, user.tenant_id, user.id, "the user was disabled")
    elif not disabled:
        user.disabled_at = None


async def set_password(session: AsyncSession, user: User, password_hash: str, *, but: str | None = None) -> None:
    """Give a locked user another password, and end all their sessions and their invitation; `but` is the one that goes
    on."""
    user.password_hash = password_hash
    await _withdraw(session, user)
    await ending.end_all(session, user.tenant_id, user.id, "the password was changed", but=but)


async def written(session: AsyncSession, user: User) -> User:
    """The row as the database has it once it is changed."""
    user.updated_at = text("now()")  # type: ignore[assignment]
    session.add(user)
    await session.flush()
    await session.refresh(user)
    return user


async def remove(session: AsyncSession, user: User) -> None:
    """Delete a locked user, and with them their sessions.

    Raises:
        Conflict: it is the tenant's last admin.
    """
    await _require_another_admin(session, user)
    await session.delete(user)


async def _withdraw(session: AsyncSession, user: User) -> None:
    """End the invitation of a user, where there is one."""
    theirs = (col(Invitation.tenant_id) == user.tenant_id, col(Invitation.user_id) == user.id)
    await session.exec(delete(Invitation).where(*theirs))


async def _require_another_admin(session: AsyncSession, user: User) -> None:
    # Who was invited and has no password yet is none who can sign in.
    if user.role != "admin" or user.disabled_at is not None or user.password_hash is None:
        return
    # Taken in turns, so that of two admins at once not each takes the other for the one who stays.
    await session.get_one(Tenant, user.tenant_id, with_for_update={"key_share": True})
    others = select(func.count()).where(
        col(User.tenant_id) == user.tenant_id,
        col(User.id) != user.id,
        col(User.role) == "admin",
        col(User.disabled_at).is_(None),
        col(User.password_hash).is_not(None),
    )
    if (await session.exec(others)).one() == 0:
        raise Conflict("this is the last admin; make somebody else one first")
