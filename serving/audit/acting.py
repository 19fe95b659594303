"""Who acts: known from where a request comes in to where something is written, without being handed through."""

import os
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

#: Targets that are noted of one write at most. Of a batch, the first.
MAX_TARGETS: Final = 20


@dataclass(slots=True)
class Acting:
    """Somebody who does something through the API, or by a command."""

    operation: str
    """Id of the operation."""
    request_id: str | None
    address: str | None
    """The peer of the connection. A command has neither."""
    tenant_id: str | None
    actor: str | None
    """Id of a key or user; None where nobody is known yet: who signs in, for example. `COMMAND` of an operator."""
    credential: str | None
    """Id of what they were recognised by: the key, or the session of a person; of an operator, `uid:1000`."""
    named: tuple[str, ...] = ()
    """Ids in the path."""
    made: list[str] = field(default_factory=list)
    """Ids of rows that the transaction under way made or deleted."""

    def about(self, target: str) -> None:
        """Note what the transaction under way is about. Rows of models note themselves."""
        if target not in self.named and target not in self.made and len(self.made) < MAX_TARGETS:
            self.made.append(target)


#: Who acts where an operator gives a command.
COMMAND: Final = "command"

#: Who acts where nobody does but the server itself.
SERVER: Final = "server"

#: Whoever acts; None in workers.
ACTING: ContextVar[Acting | None] = ContextVar("acting", default=None)


def about(target: str) -> None:
    """As `Acting.about`, for rows that are written by statements of our own, which do not note themselves."""
    acting = ACTING.get()
    if acting is not None:
        acting.about(target)


def known_as(actor: str | None, credential: str) -> None:
    """Who acts turned out to be somebody: whoever signs in is nobody at first."""
    acting = ACTING.get()
    if acting is not None:
        acting.actor, acting.credential = actor, credential


def commanding(operation: str) -> Acting:
    """An operator, who gives a command: its name, `keys rotate`."""
    return Acting(operation, None, None, None, COMMAND, f"uid:{os.getuid()}")
