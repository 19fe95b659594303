"""People, their sessions and what they sign in with, as callers see them."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from pipeline.record import Record
from serving.auth.invitations import Invited
from serving.auth.passwords import MAX_BYTES, MIN_CHARS
from serving.auth.principals import Role
from serving.auth.sessions import Issued
from serving.auth.users import EMAIL_PATTERN, MAX_EMAIL_CHARS
from serving.db.accounts import User, UserSession

Email = Annotated[str, msgspec.Meta(pattern=EMAIL_PATTERN, min_length=3, max_length=MAX_EMAIL_CHARS)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
NewPassword = Annotated[str, msgspec.Meta(min_length=MIN_CHARS, max_length=MAX_BYTES)]
#: One that exists already, or not.
GivenPassword = Annotated[str, msgspec.Meta(max_length=MAX_BYTES)]
GivenToken = Annotated[str, msgspec.Meta(max_length=4096)]


class SignIn(Record, frozen=True, kw_only=True):
    """Who wants to sign in."""

    email: Annotated[str, msgspec.Meta(max_length=MAX_EMAIL_CHARS)]
    password: GivenPassword
    tenant: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    """Id of the tenant; not needed where the server has one only."""


class GivenRefreshToken(Record, frozen=True, kw_only=True):
    """A session, by its refresh token."""

    refresh_token: GivenToken


class SignedIn(Record, frozen=True, kw_only=True):
    """A session, and what it is gone on with."""

    access_token: str
    """Goes into `Authorization: Bearer`."""
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int
    """Seconds that the access token is good for."""
    refresh_token: str
    """Good for one more of such answers, once. Who shows it twice has to sign in again."""
    refresh_expires_at: datetime
    session_id: str


class UserRequest(Record, frozen=True, kw_only=True):
    """Somebody who is to be able to sign in."""

    email: Email
    name: Name
    role: Role
    password: NewPassword | msgspec.UnsetType = msgspec.UNSET
    """At most 1024 bytes as UTF-8. Better left out: the answer has an invitation then, to set their own with."""


class UserPatch(Record, frozen=True, kw_only=True):
    """What is to be changed; what is left out stays."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    role: Role | msgspec.UnsetType = msgspec.UNSET
    disabled: bool | msgspec.UnsetType = msgspec.UNSET
    """Once they are disabled, their sessions are over, and they cannot sign in."""
    password: NewPassword | msgspec.UnsetType = msgspec.UNSET
    """Ends their sessions. Better is an invitation, with which they set their own."""


class InvitationView(Record, frozen=True, kw_only=True):
    """What lets somebody set a password of their own, shown this once."""

    invitation: str
    """Goes into `/v1/auth/password`, once. It is all that is needed, so hand it on to nobody else."""
    expires_at: datetime


class UserView(Record, frozen=True, kw_only=True):
    """Somebody who can sign in."""

    id: str
    email: str
    name: str
    role: str
    """`viewer`, `editor` or `admin`."""
    disabled_at: datetime | None
    created_at: datetime
    updated_at: datetime


class NewUserView(UserView, frozen=True, kw_only=True):
    """Somebody who can sign in from now on, or once they have set a password."""

    invitation: InvitationView | msgspec.UnsetType = msgspec.UNSET
    """Where no password was given."""


class AcceptedInvitation(Record, frozen=True, kw_only=True):
    """An invitation, and the password that is chosen with it."""

    invitation: GivenToken
    password: NewPassword
    """At most 1024 bytes as UTF-8."""


class PasswordChange(Record, frozen=True, kw_only=True):
    """A password of one's own, and another one for it."""

    old_password: GivenPassword
    new_password: NewPassword


class TenantView(Record, frozen=True, kw_only=True):
    """Whom everything belongs to."""

    id: str
    name: str


class Me(Record, frozen=True, kw_only=True):
    """Who asks."""

    kind: Literal["user", "key"]
    id: str
    name: str
    tenant: TenantView
    scopes: tuple[str, ...]
    """What they may do."""
    email: str | None = None
    """Of a user."""
    role: str | None = None
    """Of a user."""
    session_id: str | None = None
    """Of a user: the session that this was asked in."""


class SessionView(Record, frozen=True, kw_only=True):
    """A session of one's own."""

    id: str
    current: bool
    """Whether this was asked in it."""
    created_at: datetime
    used_at: datetime
    """When it was begun, or last refreshed."""
    expires_at: datetime
    ended_at: datetime | None
    ended_because: str | None


def view_of_issued(issued: Issued) -> SignedIn:
    """What a session gives, as callers see it."""
    return SignedIn(
        access_token=issued.access_token,
        expires_in=issued.access_s,
        refresh_token=issued.refresh_token,
        refresh_expires_at=issued.refresh_expires_at,
        session_id=issued.session_id,
    )


def view_of_user(user: User) -> UserView:
    """A row as callers see it."""
    return UserView(
        id=user.id,
        email=user.email,
        name=user.name,
        role=user.role,
        disabled_at=user.disabled_at,
        created_at=user.created_at,
        updated_at=user.updated_at,
    )


def view_of_invited(invited: Invited) -> InvitationView:
    """An invitation, as it is shown once."""
    return InvitationView(invitation=invited.shown, expires_at=invited.expires_at)


def view_of_session(row: UserSession, current: str) -> SessionView:
    """A row as its owner sees it, who asks in the session `current`."""
    return SessionView(
        id=row.id,
        current=row.id == current,
        created_at=row.created_at,
        used_at=row.used_at,
        expires_at=row.expires_at,
        ended_at=row.revoked_at,
        ended_because=row.revoked_reason,
    )
