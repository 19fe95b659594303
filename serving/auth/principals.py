"""Who may do what: scopes, the roles that people have, and whoever asks."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from serving.errors import Forbidden

Scope = Literal[
    "videos:read",
    "videos:write",
    "jobs:read",
    "jobs:write",
    "vocabularies:write",
    "webhooks:manage",
    "keys:manage",
    "users:manage",
    "audit:read",
    "rights:manage",
]
Role = Literal["viewer", "editor", "admin"]

SCOPES: Final = frozenset(get_args(Scope))

#: What a person with a role may do; keys have scopes of their own.
ROLES: Final[dict[str, frozenset[str]]] = {
    "viewer": frozenset({"videos:read", "jobs:read"}),
    "editor": frozenset({"videos:read", "videos:write", "jobs:read", "jobs:write", "vocabularies:write"}),
    "admin": SCOPES,
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks."""

    tenant_id: str
    actor: str
    """Id of a key or user."""
    scopes: frozenset[str]
    credential: str
    """Id of what it was recognised by: the key's own, or that of the session which a person signed in to. Whether it
    is still good, `Credentials.current` says."""

    @property
    def session_id(self) -> str | None:
        """Of a person who signed in; None of a key."""
        return self.credential if self.credential != self.actor else None


def require_within(principal: Principal, scopes: frozenset[str]) -> None:
    """Raises Forbidden where scopes go beyond those of who asks: nobody gives more than they have."""
    beyond = sorted(scopes - principal.scopes)
    if beyond:
        raise Forbidden(f"who asks has not got {', '.join(beyond)}")
