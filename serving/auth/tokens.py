"""Signed tokens: access tokens of people who signed in, and tickets for browsers. JSON Web Tokens (RFC 7519), HS256.

Each kind has a key and an audience of its own, so that none is ever taken for another. They are signed, so that nobody
asks the database about what is made up; whether who has one may still do something, `credentials` asks it all the same.
"""

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from serving.options import AuthOptions

#: The only algorithm, and the header that says so: a token with any other is not looked into.
_ALGORITHM: Final = "HS256"
_HEADER: Final = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")

_ISSUER: Final = "automations"

_Audience = Literal["automations:api", "automations:events"]


@dataclass(frozen=True, slots=True)
class Access:
    """What an access token says."""

    tenant_id: str
    user_id: str
    session_id: str


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket says."""

    tenant_id: str
    job_id: str
    """Whose events it is for."""
    credential: str
    """Id of the key or session that it was asked for with, and is no better than."""


class Tokens:
    """Makes tokens and reads them."""

    def __init__(self, secret: bytes, options: AuthOptions) -> None:
        """`secret`: the server's; keys are derived from it."""
        self._options = options
        self._keys: dict[_Audience, bytes] = {
            audience: hmac.digest(secret, f"signs {audience}".encode(), hashlib.sha256)
            for audience in ("automations:api", "automations:events")
        }

    def access(self, access: Access) -> tuple[str, int]:
        """A token that says this, and for how many seconds it is good."""
        said = {"sub": access.user_id, "sid": access.session_id, "tid": access.tenant_id}
        return self._signed("automations:api", said, self._options.access_s)[0], self._options.access_s

    def read_access(self, token: str) -> Access | None:
        """What a token says; None where it is none of ours, or its time is over."""
        said = self._read("automations:api", token, ("sub", "sid", "tid"))
        if said is None:
            return None
        return Access(tenant_id=said["tid"], user_id=said["sub"], session_id=said["sid"])

    def ticket(self, ticket: Ticket) -> tuple[str, datetime]:
        """A token that says this, and until when it is good."""
        said = {"sub": ticket.job_id, "cid": ticket.credential, "tid": ticket.tenant_id}
        return self._signed("automations:events", said, self._options.ticket_s)

    def read_ticket(self, token: str) -> Ticket | None:
        """What a ticket says; None where it is none of ours, or its time is over."""
        said = self._read("automations:events", token, ("sub", "cid", "tid"))
        if said is None:
            return None
        return Ticket(tenant_id=said["tid"], job_id=said["sub"], credential=said["cid"])

    def _signed(self, audience: _Audience, said: dict[str, str], lifetime_s: int) -> tuple[str, datetime]:
        # Loaded by who signs in first: it takes a tenth of a second, which no start has to wait for.
        import jwt

        now = int(time.time())
        claims = said | {"iss": _ISSUER, "aud": audience, "iat": now, "exp": now + lifetime_s}
        token = jwt.encode(claims, self._keys[audience], algorithm=_ALGORITHM)
        return token, datetime.fromtimestamp(now + lifetime_s, UTC)

    def _read(self, audience: _Audience, token: str, names: tuple[str, ...]) -> dict[str, str] | None:
        if token.partition(".")[0] != _HEADER:
            return None
        import jwt

        try:
            said = jwt.decode(
                token,
                self._keys[audience],
                algorithms=[_ALGORITHM],
                audience=audience,
                issuer=_ISSUER,
                # When it was made is told for people; another process's clock may be ahead of ours.
                options={"require": ["exp", "iss", "aud", *names], "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            return None
        return said if all(isinstance(said[name], str) for name in names) else None
