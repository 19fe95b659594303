"""Signatures after https://www.standardwebhooks.com, made by its own library."""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from standardwebhooks import Webhook

#: Random bytes of a secret; the standard asks for 24 to 64.
_SECRET_BYTES: Final = 32

_PREFIX: Final = "whsec_"


def new_secret() -> str:
    """`whsec_...`, which nobody guesses."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signed(message_id: str, body: str, at: datetime, whose: Sequence[str]) -> dict[str, str]:
    """The headers that say which message it is, when it was sent, and by whom.

    Args:
        at: in UTC. Receivers take what is at most five minutes old, so it is the time of the attempt.
        whose: secrets; there is a signature with each, so that a receiver who knows one of them is content.
    """
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(message_id, at, body) for secret in whose),
    }
