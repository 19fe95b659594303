"""A worker that was taken over: a thread that speaks the wire protocol and answers with whatever it likes."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import cast

from pipeline.limits import WorkerLimits
from pipeline.sandbox import wire
from pipeline.sandbox.client import Sandbox, Worker
from pipeline.sandbox.isolation import Isolation
from pipeline.sandbox.protocol import Ready

Answer = Callable[[socket.socket], None]
"""Says something on the socket after a request came in."""


def says(*messages: tuple[int, bytes]) -> Answer:
    """These (kind, payload), one after the other."""

    def answer(end: socket.socket) -> None:
        for kind, payload in messages:
            wire.Channel(end).send(kind, payload)

    return answer


@contextmanager
def worker(answer: Answer) -> Iterator[Worker]:
    """A worker that answers every request so. What is killed with it is a process of its own that does nothing."""
    ours, theirs = socket.socketpair()
    victim = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})

    def run() -> None:
        with theirs, suppress(wire.Broken, OSError):
            channel = wire.Channel(theirs)
            channel.send(wire.DONE, wire.encode(Ready(pid=victim, isolation=Isolation(syscalls=True, network=True))))
            while True:
                _, _, files = channel.receive(20.0)
                for file in files:
                    os.close(file)
                answer(theirs)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    made = Worker(ours)
    try:
        yield made
    finally:
        made.kill()
        os.waitpid(victim, 0)
        thread.join(10.0)
        assert not thread.is_alive()


class Taken:
    """A sandbox whose workers are all taken over."""

    def __init__(self, answer: Answer) -> None:
        self.limits = WorkerLimits(inspect_s=5.0, clip_s=5.0)
        self._answer = answer
        self._open: list = []

    def worker(self) -> Worker:
        """Another one."""
        manager = worker(self._answer)
        self._open.append(manager)
        return manager.__enter__()

    def close(self) -> None:
        """End all workers."""
        for manager in self._open:
            manager.__exit__(None, None, None)


@contextmanager
def taken(answer: Answer) -> Iterator[Sandbox]:
    """A sandbox whose workers answer so."""
    made = Taken(answer)
    try:
        yield cast(Sandbox, made)
    finally:
        made.close()
