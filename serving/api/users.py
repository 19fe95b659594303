"""People of a tenant, as its administrators manage them."""

from typing import Annotated

import msgspec
from litestar import Controller, Response, delete, get, patch, post
from litestar.params import Parameter
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.api.access import needs
from serving.api.account_records import (
    InvitationView,
    NewUserView,
    UserPatch,
    UserRequest,
    UserView,
    view_of_invited,
    view_of_user,
)
from serving.api.page import DEFAULT_LIMIT, MAX_LIMIT, Page, decode_cursor, page_of
from serving.auth import users
from serving.auth.invitations import invite
from serving.auth.passwords import Passwords
from serving.auth.principals import ROLES, Principal, require_within
from serving.db.accounts import User
from serving.db.database import Database
from serving.errors import Conflict
from serving.settings import Settings

UserId = Annotated[str, Parameter(pattern=r"^usr_[0-9A-Z]{26}$", description="Id of a user")]


class Users(Controller):
    """`/v1/users`"""

    path = "/v1/users"
    tags = ("users",)

    @post(operation_id="create_user", **needs("users:manage"), summary="Let somebody sign in")
    async def create(
        self,
        principal: Principal,
        database: Database,
        passwords: Passwords,
        secret: bytes,
        settings: Settings,
        data: UserRequest,
    ) -> Response[NewUserView]:
        """Let somebody sign in. Nobody gives a role that may do more than they. Without a password, the answer has an
        invitation: hand it on to them, and they set a password that nobody else ever sees."""
        tenant = principal.tenant_id
        require_within(principal, ROLES[data.role])
        hashed = None
        if data.password is not msgspec.UNSET:
            async with database.read(tenant) as session:
                about = await users.known_about(session, tenant, data.email, data.name)
            hashed = await passwords.chosen(data.password, about)
        async with database.write("user.write", tenant) as session:
            made = await users.create(session, tenant, data.email, data.name, data.role, hashed)
            invited = None if hashed else await invite(session, secret, made, settings.auth.invitation_s)
        answer = NewUserView(
            **msgspec.structs.asdict(view_of_user(made)),
            invitation=view_of_invited(invited) if invited else msgspec.UNSET,
        )
        return Response(answer, headers={"Cache-Control": "no-store"})

    @get(operation_id="list_users", **needs("users:manage"), summary="All users")
    async def many(
        self,
        principal: Principal,
        database: Database,
        limit: Annotated[int, Parameter(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
        cursor: Annotated[str | None, Parameter(max_length=512, required=False)] = None,
    ) -> Page[UserView]:
        """Users, latest first; those who are disabled, too."""
        query = select(User).where(User.tenant_id == principal.tenant_id).order_by(col(User.id).desc()).limit(limit + 1)
        if cursor is not None:
            query = query.where(col(User.id) < decode_cursor(cursor, str))
        async with database.read(principal.tenant_id) as session:
            rows = (await session.exec(query)).all()
        return page_of(rows, limit, view_of_user, lambda user: user.id)

    @get("/{user_id:str}", operation_id="get_user", **needs("users:manage"), summary="One user")
    async def one(self, principal: Principal, database: Database, user_id: UserId) -> UserView:
        """One user."""
        async with database.read(principal.tenant_id) as session:
            return view_of_user(await users.found(session, principal.tenant_id, user_id))

    @patch("/{user_id:str}", operation_id="change_user", **needs("users:manage"), summary="Change a user")
    async def change(
        self, principal: Principal, database: Database, passwords: Passwords, user_id: UserId, data: UserPatch
    ) -> UserView:
        """Change a user; it is felt within a second, in sessions that go on, too. A tenant's last admin stays one.
        Nobody changes somebody who may do more than they, or gives a role that may."""
        hashed = None
        if data.password is not msgspec.UNSET:
            async with database.read(principal.tenant_id) as session:
                known = await users.found(session, principal.tenant_id, user_id)
                about = await users.known_about(session, known.tenant_id, known.email, known.name)
            hashed = await passwords.chosen(data.password, about)
        async with database.write("user.write", principal.tenant_id) as session:
            user = await _manageable(session, principal, user_id)
            if data.name is not msgspec.UNSET:
                user.name = data.name
            if data.role is not msgspec.UNSET:
                require_within(principal, ROLES[data.role])
                await users.set_role(session, user, data.role)
            if data.disabled is not msgspec.UNSET:
                await users.set_disabled(session, user, data.disabled)
            if hashed is not None:
                await users.set_password(session, user, hashed)
            return view_of_user(await users.written(session, user))

    @post(
        "/{user_id:str}/invitation", operation_id="invite_user", **needs("users:manage"), summary="Have a password set"
    )
    async def invitation(
        self, principal: Principal, database: Database, secret: bytes, settings: Settings, user_id: UserId
    ) -> Response[InvitationView]:
        """An invitation for somebody who has forgotten their password, or let the one before run out, which is worth
        nothing from now on. Their password and sessions stay as they are until they set another one. Nobody invites
        somebody who may do more than they, or who is disabled: that would be good for nothing."""
        async with database.write("user.write", principal.tenant_id) as session:
            user = await _manageable(session, principal, user_id)
            if user.disabled_at is not None:
                raise Conflict("the user is disabled, and could not use an invitation; enable them first")
            invited = await invite(session, secret, user, settings.auth.invitation_s)
        return Response(view_of_invited(invited), headers={"Cache-Control": "no-store"})

    @delete("/{user_id:str}", operation_id="delete_user", **needs("users:manage"), summary="Delete a user")
    async def remove(self, principal: Principal, database: Database, user_id: UserId) -> None:
        """Delete a user, and end their sessions. Keys that they made stay: those are the tenant's."""
        async with database.write("user.write", principal.tenant_id) as session:
            await users.remove(session, await _manageable(session, principal, user_id))


async def _manageable(session: AsyncSession, principal: Principal, user_id: str) -> User:
    """A user, locked. Who could give an admin another password would be one, so nobody changes whom they are below."""
    user = await users.found(session, principal.tenant_id, user_id, locked=True)
    require_within(principal, ROLES[user.role])
    return user
