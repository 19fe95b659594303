"""Signing in, going on, and signing out."""

from typing import Any, Final

from litestar import Controller, Request, Response, post

from serving.api.access import SIGNING_IN
from serving.api.account_records import AcceptedInvitation, GivenRefreshToken, SignedIn, SignIn, view_of_issued
from serving.api.peers import address_of, network_of
from serving.auth import attempts
from serving.auth.invitations import Invitations
from serving.auth.sessions import Issued, Sessions
from serving.auth.users import email_of
from serving.limiting import Limits
from serving.settings import Settings

#: Bytes of a body, which anybody may send: a password and an address, or a token.
_MAX_BODY_BYTES: Final = 16 << 10


class Authentication(Controller):
    """`/v1/auth`"""

    path = "/v1/auth"
    tags = ("auth",)
    request_max_body_size = _MAX_BODY_BYTES

    @post("/token", operation_id="sign_in", **SIGNING_IN, status_code=200, summary="Sign in")
    async def sign_in(
        self, request: Request[Any, Any, Any], sessions: Sessions, limits: Limits, settings: Settings, data: SignIn
    ) -> Response[SignedIn]:
        """Begin a session with email and password. Whatever is wrong with them, the answer is the same 401."""
        await attempts.from_address(limits, settings.auth, network_of(address_of(request.scope)))
        account = await sessions.account(email_of(data.email), data.tenant)
        await attempts.at_account(limits, settings.auth, account.name)
        return _answer(await sessions.sign_in(account, data.password))

    @post("/refresh", operation_id="refresh_session", **SIGNING_IN, status_code=200, summary="Go on with a session")
    async def refresh(self, sessions: Sessions, data: GivenRefreshToken) -> Response[SignedIn]:
        """Another access token and another refresh token, for a refresh token. One that comes a second time ends its
        session: two have it, and one of them should not. So ask once at a time, and keep the new one before anything
        else is done; where an answer was lost on its way, sign in again."""
        return _answer(await sessions.refresh(data.refresh_token))

    @post("/password", operation_id="accept_invitation", **SIGNING_IN, status_code=204, summary="Set a first password")
    async def accept(
        self,
        request: Request[Any, Any, Any],
        invitations: Invitations,
        limits: Limits,
        settings: Settings,
        data: AcceptedInvitation,
    ) -> None:
        """Set one's password with an invitation, which is good for that once; all sessions are over then. With a
        password that is refused, the invitation stays good. Whatever is wrong with it, the answer is the same 401."""
        await attempts.from_address(limits, settings.auth, network_of(address_of(request.scope)))
        await invitations.accept(data.invitation, data.password)

    @post("/logout", operation_id="sign_out", **SIGNING_IN, status_code=204, summary="Sign out")
    async def sign_out(self, sessions: Sessions, data: GivenRefreshToken) -> None:
        """End the session of a refresh token: within a second its access tokens are good for nothing. Of a token that
        is none, nothing is told and nothing happens."""
        await sessions.end(data.refresh_token)


def _answer(issued: Issued) -> Response[SignedIn]:
    return Response(view_of_issued(issued), headers={"Cache-Control": "no-store"})
