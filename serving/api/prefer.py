"""`Prefer: wait=N`, RFC 7240."""

import re
from typing import Final

#: Longest that a request is kept waiting, seconds.
MAX_WAIT_S: Final = 60.0

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*(?:=\s*\"?(\d{1,6})\"?)?\s*(?=[,;]|$)", re.IGNORECASE)


def wait_s(prefer: str | None) -> float | None:
    """For how long the caller would wait, seconds; None where it would not. `wait` alone is as long as it may be."""
    found = _WAIT.search(prefer or "")
    if found is None:
        return None
    return min(float(found[1]), MAX_WAIT_S) if found[1] else MAX_WAIT_S
