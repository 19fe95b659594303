"""The check of `models.conformance` that looks at what a model leaves of what it is shown."""

from __future__ import annotations

import gc
import sys
import time

import numpy as np

from models.conformance import Failed, Subject

LET_GO_S = 1.0
"""How long threads of a model may go on having what it was shown, seconds."""


def untouched(subject: Subject) -> str:
    """See `models.conformance_checks.CHECKS`."""
    seen = subject.shown(3)
    before = seen.copy()
    rows = subject.model.run(seen)
    if not np.array_equal(seen, before):
        raise Failed("it changes what it is shown, which other models are shown as well")
    answer = np.array(rows)
    seen[:] = 0
    if not np.array_equal(answer, np.asarray(rows), equal_nan=True):
        raise Failed("its answer is in the memory of what it was shown, which is used again")
    del rows
    if _is_kept(subject):
        raise Failed("it keeps what it is shown, whose memory is used again and is not small")
    return "what it is shown stays as it is, and with nobody"


def _is_kept(subject: Subject) -> bool:
    """Whether what it was shown, or a view of that, is still there when it has answered."""
    seen = subject.shown(3)
    mine = sys.getrefcount(seen)
    subject.model.run(seen)
    until_s = time.monotonic() + LET_GO_S
    # Threads of its own may have it for a moment, and what refers to itself until it is collected.
    while sys.getrefcount(seen) > mine and time.monotonic() < until_s:
        gc.collect()
        time.sleep(0.01)
    return sys.getrefcount(seen) > mine
