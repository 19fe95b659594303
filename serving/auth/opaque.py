"""Credentials that mean nothing by themselves: API keys, refresh tokens, invitations. The database has keyed digests of
them."""

import hashlib
import hmac
import secrets
from typing import Final

#: They say what they are wherever they turn up, so that scanners for leaked secrets can find them.
KEY_PREFIX: Final = "aut_"
REFRESH_PREFIX: Final = "rtk_"
INVITATION_PREFIX: Final = "inv_"

#: Characters that are random: 256 bits in base64.
_RANDOM_CHARS: Final = 43

#: Characters of a key, no more and no less.
KEY_CHARS: Final = len(KEY_PREFIX) + _RANDOM_CHARS

#: Characters of a key that are kept to recognise it by: the prefix, and 24 of 256 bits.
_HINT: Final = 8


def new_key() -> str:
    """A key that nobody guesses: 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def new_refresh_token() -> str:
    """A refresh token that nobody guesses: 256 random bits."""
    return REFRESH_PREFIX + secrets.token_urlsafe(32)


def new_invitation() -> str:
    """An invitation that nobody guesses: 256 random bits."""
    return INVITATION_PREFIX + secrets.token_urlsafe(32)


def hint(key: str) -> str:
    """The first characters of a key."""
    return key[:_HINT]


def digest(secret: bytes, credential: str) -> bytes:
    """What the database knows a key or token by: without the server's secret, a stolen database does not tell whether
    one is good. They are random enough that slow hashing, as of passwords, would add nothing."""
    return hmac.digest(secret, credential.encode(), hashlib.sha256)
