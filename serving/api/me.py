"""Who asks, and what they see to themselves."""

from typing import Annotated

from litestar import Controller, delete, get, post
from litestar.params import Parameter
from sqlmodel import col, select

from serving.api.access import ANYBODY, PERSON, needs
from serving.api.account_records import (
    Me,
    PasswordChange,
    SessionView,
    TenantView,
    view_of_session,
)
from serving.auth import attempts, ending, users
from serving.auth.passwords import Passwords, require_acceptable
from serving.auth.principals import Principal
from serving.auth.sessions import MAX_SESSIONS
from serving.db.accounts import ApiKey, Tenant, UserSession
from serving.db.database import Database
from serving.errors import Conflict, NotFound, WrongPassword
from serving.limiting import Limits
from serving.settings import Settings

SessionId = Annotated[str, Parameter(pattern=r"^ses_[0-9A-Z]{26}$", description="Id of a session")]


class Myself(Controller):
    """`/v1/me`"""

    path = "/v1/me"
    tags = ("me",)

    @get(operation_id="get_me", **needs(ANYBODY), summary="Who asks")
    async def me(self, principal: Principal, database: Database) -> Me:
        """Whoever asks: a user or a key, and what they may do."""
        tenant_id, scopes = principal.tenant_id, tuple(sorted(principal.scopes))
        async with database.read(tenant_id) as session:
            row = await session.get_one(Tenant, tenant_id)
            tenant = TenantView(id=row.id, name=row.name)
            if principal.session_id is None:
                key = await session.get_one(ApiKey, principal.actor)
                return Me(kind="key", id=key.id, name=key.name, tenant=tenant, scopes=scopes)
            user = await users.found(session, tenant_id, principal.actor)
        return Me(
            kind="user",
            id=user.id,
            name=user.name,
            tenant=tenant,
            scopes=scopes,
            email=user.email,
            role=user.role,
            session_id=principal.session_id,
        )

    @post(
        "/password", operation_id="change_my_password", **needs(PERSON), status_code=204, summary="Change the password"
    )
    async def password(
        self,
        principal: Principal,
        database: Database,
        passwords: Passwords,
        limits: Limits,
        settings: Settings,
        data: PasswordChange,
    ) -> None:
        """Change one's own password, which takes the old one. All other sessions are over then."""
        require_acceptable(data.new_password, "/new_password")
        # A stolen access token is no help in guessing.
        await attempts.at_account(limits, settings.auth, principal.actor)
        async with database.read(principal.tenant_id) as session:
            user = await users.found(session, principal.tenant_id, principal.actor)
            kept, about = user.password_hash, await users.known_about(session, user.tenant_id, user.email, user.name)
        if not await passwords.verified(kept, data.old_password):
            raise WrongPassword("the old password is another one", (("/old_password", "is not the password"),))
        hashed = await passwords.chosen(data.new_password, about, "/new_password")
        async with database.write("user.write", principal.tenant_id) as session:
            user = await users.found(session, principal.tenant_id, principal.actor, locked=True)
            if user.password_hash != kept:
                raise Conflict("the password was changed just now")
            await users.set_password(session, user, hashed, but=principal.session_id)
            await users.written(session, user)

    @get("/sessions", operation_id="list_my_sessions", **needs(PERSON), summary="Where one is signed in")
    async def many_sessions(self, principal: Principal, database: Database) -> tuple[SessionView, ...]:
        """One's own sessions, the one used last first: those that go on, and those that were ended in the last 30
        days. There are at most 100."""
        query = (
            select(UserSession)
            .where(UserSession.tenant_id == principal.tenant_id, UserSession.user_id == principal.actor)
            .order_by(col(UserSession.used_at).desc(), col(UserSession.id).desc())
            .limit(MAX_SESSIONS)
        )
        async with database.read(principal.tenant_id) as session:
            rows = (await session.exec(query)).all()
        return tuple(view_of_session(row, principal.credential) for row in rows)

    @delete("/sessions/{session_id:str}", operation_id="end_my_session", **needs(PERSON), summary="Sign out elsewhere")
    async def end_session(
        self, principal: Principal, database: Database, settings: Settings, session_id: SessionId
    ) -> None:
        """End a session of one's own, this one or another. Again, nothing happens. For another, one has to have signed
        in within the last ten minutes: otherwise whoever has stolen a token could lock its owner out."""
        async with database.write("session.end", principal.tenant_id) as session:
            if session_id != principal.credential:
                await ending.require_fresh(session, principal.tenant_id, principal.credential, settings.auth.fresh_s)
            if not await ending.end(session, principal.tenant_id, principal.actor, session_id):
                raise NotFound("there is no such session")
