"""Keeps a cluster of this machine up, with the graph in it, until told to end: what `automations graph` runs.

A process of its own starts Ray and deploys (`head`), and dies with this one. Whatever becomes of it, and of Ray, this
one sees what is left of it ended, and starts it again; where this one is killed, `guard` sees to the former. Imports
nothing of Ray, so that no fault of Ray's is its own.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from pipeline.sandbox.isolation import die_with_parent
from serving.graph.cluster import Cluster, tidied
from serving.graph.sessions import end_session

REFUSED: Final = 2
"""Exit code of a head whose YAML cannot be deployed here: trying again does not help."""

#: How long is waited before the first new start, and at most, seconds; each time twice as long as the time before.
_FIRST_S: Final = 1.0
_MOST_S: Final = 60.0

STEADY_S: Final = 60.0
"""What was up for so long may fall once more as if for the first time, seconds."""

#: What is run for one life of a cluster.
_HEAD: Final = (sys.executable, "-m", "serving.graph.head")

#: How long the head has for its end, seconds. It ends itself before that (`head.END_S`).
_PATIENCE_S: Final = 12.0

#: How often it is looked whether it is still there, seconds.
_LOOK_S: Final = 0.2


def waits() -> Iterator[float]:
    """Seconds to wait before one new start after the other: 1, 2, 4, ..., 60, 60, ..."""
    wait_s = _FIRST_S
    while True:
        yield wait_s
        wait_s = min(2 * wait_s, _MOST_S)


def told_within(told: threading.Event, wait_s: float) -> bool:
    """Whether this process was told to end before so many seconds have passed. For the thread that hears signals: an
    event is waited for with a lock, which the handler of a signal might want just then."""
    until = time.monotonic() + wait_s
    while not told.is_set() and (left_s := until - time.monotonic()) > 0:
        time.sleep(min(left_s, _LOOK_S))
    return told.is_set()


def keep_up(config: Path, where: Cluster, *, dashboard: bool = False, metrics_port: int | None = None) -> int:
    """Run a cluster until this process is told to end; its exit code.

    Args:
        config: the Serve YAML.
        dashboard: whether Ray's dashboard runs too, which `serve deploy` and `serve status` speak to.
        metrics_port: port of this machine where Prometheus finds Ray's and the graph's metrics; None: any.
    """
    command = [*_HEAD, str(config), str(where.temporary), str(where.address)]
    command += ["--dashboard"] if dashboard else []
    command += ["--metrics-port", str(metrics_port)] if metrics_port is not None else []
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    again = waits()
    first = True
    with _Guard() as guard:
        while True:
            began = time.monotonic()
            tidied(where.temporary)
            code, steady = _one_life(command, where, told, guard)
            if told.is_set():
                return 0
            if code == REFUSED and first:
                return REFUSED
            first = False
            if steady:
                again = waits()
            lived_s, wait_s = time.monotonic() - began, next(again)
            print(f"graph     ray ended after {lived_s:.0f} s; it is started again in {wait_s:g} s", flush=True)
            if told_within(told, wait_s):
                return 0


class _Guard:
    """Who ends a session where we are killed; see `guard`."""

    def __enter__(self) -> "_Guard":
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def watch(self, session: int) -> None:
        """From now on this one, and none before it."""
        if self._process.poll() is not None:
            self._start()
        assert self._process.stdin is not None
        print(session, file=self._process.stdin, flush=True)

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "serving.graph.guard"], stdin=subprocess.PIPE, text=True, start_new_session=True
        )


def _one_life(command: list[str], where: Cluster, told: threading.Event, guard: _Guard) -> tuple[int, bool]:
    """Run a head until it ends, or is told to; its exit code, and whether all was up for long. Of its processes none is
    left."""
    # Of one that was killed before this one could, too.
    where.address.unlink(missing_ok=True)
    reading, writing = os.pipe()
    head = subprocess.Popen(
        [*command, "--steady", str(writing)],
        env=where.environment(os.environ),
        pass_fds=(writing,),
        # A session of its own: what is left of it is known by that, and a terminal's Ctrl-C goes to us alone.
        start_new_session=True,
        preexec_fn=partial(die_with_parent, os.getpid()),
    )
    os.close(writing)
    try:
        guard.watch(head.pid)
        while not _ended(head.pid) and not told_within(told, _LOOK_S):
            pass
        if not _ended(head.pid):
            head.send_signal(signal.SIGTERM)
            until = time.monotonic() + _PATIENCE_S
            while not _ended(head.pid) and time.monotonic() < until:
                time.sleep(_LOOK_S)
    finally:
        # Before it is reaped, nobody else can have its number.
        end_session(head.pid)
        where.address.unlink(missing_ok=True)
    return head.wait(), _was_steady(reading)


def _was_steady(descriptor: int) -> bool:
    """What a head that has ended has told, see `head.Steady`."""
    os.set_blocking(descriptor, False)
    try:
        return bool(os.read(descriptor, 1))
    except BlockingIOError:
        # Something of it has the other end, and cannot be killed.
        return False
    finally:
        os.close(descriptor)


def _ended(pid: int) -> bool:
    """Whether a child has; it stays to be reaped."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
