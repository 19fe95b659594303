"""Tells whoever started a server when it can do jobs: it takes them before that."""

import http.client
import threading
import time
import urllib.error
import urllib.request
from typing import Final

import msgspec

#: How often the server is asked, seconds.
EVERY_S: Final = 0.5

#: For how long nothing is said of what is missing: it is what takes its time at every start, seconds. The graph takes
#: more, and tells itself how it goes.
PATIENCE_S: Final = 20.0
GRAPH_PATIENCE_S: Final = 120.0


class _Answer(msgspec.Struct):
    """Of `/readyz`, where it is not ready."""

    checks: dict[str, str] = {}


def announce_ready(address: str, ending: threading.Event, patience_s: float | None = None) -> None:
    """Print a line once the server at `address` has a model that computes, and one before that for each thing that it
    lacks for longer than `patience_s`, or `PATIENCE_S`. Returns then, or when `ending` is set."""
    patience_s = PATIENCE_S if patience_s is None else patience_s
    began = time.monotonic()
    told = ""
    while not ending.wait(EVERY_S):
        waiting = _missing(address)
        took_s = time.monotonic() - began
        if waiting is None:
            print(f"ready     jobs are worked on (after {took_s:.1f} s)", flush=True)
            return
        if waiting and waiting != told and took_s > patience_s:
            told = waiting
            print(f"waiting   {waiting}", flush=True)


def _missing(address: str) -> str | None:
    """What a server lacks, in a few words; empty while it does not answer; None where nothing is."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{address}/readyz", timeout=5):
            return None
    except urllib.error.HTTPError as error:
        return _lacks(error)
    except (OSError, http.client.HTTPException):
        return ""


def _lacks(answer: urllib.error.HTTPError) -> str:
    try:
        checks = msgspec.json.decode(answer.read(), type=_Answer).checks
    except (msgspec.DecodeError, OSError, http.client.HTTPException):
        # Of whoever stands before it, or of another server.
        return f"who answers there is not ready, and does not say why (status {answer.code})"
    return "; ".join(said for said in checks.values() if said != "ok")
