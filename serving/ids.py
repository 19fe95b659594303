"""Names of things: a prefix that says what it is, and 26 characters that sort by when it was made (as ULIDs do)."""

import os
import random
import re
import time
from typing import Final, Literal

#: Crockford's base 32: no I, L, O, U, so that nothing is mistaken when it is read aloud.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

#: Two digits at once: each request has an id.
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]

#: Names are no secrets, they only have to differ: without a system call for each.
_RANDOM = random.Random()
os.register_at_fork(after_in_child=_RANDOM.seed)

Prefix = Literal[
    "ten", "usr", "ses", "key", "upl", "vid", "job", "whk", "msg", "dlv", "voc", "req", "wrk", "bat", "aud", "qst",
    "cpy", "tgg", "cor", "lrn", "era", "ret", "own",
]  # fmt: skip


def new_id(prefix: Prefix) -> str:
    """`job_01K...`: 48 bits of milliseconds and 80 random ones, https://github.com/ulid/spec."""
    number = (time.time_ns() // 1_000_000) << 80 | _RANDOM.getrandbits(80)
    return f"{prefix}_{''.join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])}"


_ID: Final = re.compile(rf"[a-z]{{3}}_[{_ALPHABET}]{{26}}")


def is_id(text: str) -> bool:
    """Whether a text is one of these, and so says nothing but what it names."""
    return _ID.fullmatch(text) is not None
