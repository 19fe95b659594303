"""Names of things: a prefix that says what it is, and 26 characters that sort by when it was made (as ULIDs do)."""

import secrets
import time
from typing import Literal

#: Crockford's base 32: no I, L, O, U, so that nothing is mistaken when it is read aloud.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

Prefix = Literal[
    "ten", "usr", "ses", "key", "upl", "vid", "job", "whk", "msg", "dlv", "voc", "req", "wrk", "bat", "aud"
]  # fmt: skip


def new_id(prefix: Prefix) -> str:
    """`job_01K...`: 48 bits of milliseconds and 80 random ones, https://github.com/ulid/spec."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    digits = [_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5)]
    return f"{prefix}_{''.join(digits)}"
