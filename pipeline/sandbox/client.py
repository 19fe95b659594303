"""The keeper's side: starts workers, asks them, and ends those that do not answer as they should."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from pipeline import errors
from pipeline.errors import DecoderCrashed, DecodeTimeout, IsolationUnavailable, VideoError
from pipeline.limits import WORKER_LIMITS, WorkerLimits
from pipeline.sandbox import wire
from pipeline.sandbox.distrust import one_line
from pipeline.sandbox.isolation import Isolation
from pipeline.sandbox.protocol import Ready, Request
from pipeline.sandbox.zygote import READY

T = TypeVar("T")

#: How long a process may take to start, seconds; half a second on an idle machine.
_START_S = 60.0

#: The program that workers come from.
_ZYGOTE = (sys.executable, "-I", "-m", "pipeline.sandbox.zygote")

#: What a worker may know of the environment: nothing secret. A Python or an FFmpeg in a place of its own may not find
#: its libraries without LD_LIBRARY_PATH.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_ENVIRONMENT |= {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}


class Worker:
    """A locked-in process that serves one caller at a time."""

    def __init__(self, end: socket.socket) -> None:
        self._channel = wire.Channel(end)
        kind, payload, _ = self._channel.receive(_START_S, max_bytes=wire.MAX_HEAD, files_too=False)
        if kind != wire.DONE:
            raise wire.Broken("it did not say that it is ready")
        self.ready: Ready = wire.decode(payload, Ready)
        self._process = os.pidfd_open(self.ready.pid)
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """Its process id, as it said before it read anything."""
        return self.ready.pid

    def ask(
        self,
        request: Request,
        kind: type[T],
        files: tuple[int, ...] = (),
        *,
        timeout_s: float,
        max_bytes: int = wire.MAX_HEAD,
        check: Callable[[T], T] | None = None,
    ) -> T:
        """The answer to a request that has one.

        Args:
            max_bytes: how long an honest answer can be.
            check: returns the answer as it can be used, or raises `wire.Broken`; see `distrust`.

        Raises:
            VideoError: as the worker refused; DecodeTimeout and DecoderCrashed where it has to be given up.
        """
        with self._exchange(request, files, timeout_s) as receive:
            what, payload = receive(max_bytes)
            if what != wire.DONE:
                raise wire.Broken("it answers in pieces what has one answer")
            answer = wire.decode(payload, kind)
            return check(answer) if check else answer

    def stream(
        self,
        request: Request,
        kind: type[T],
        files: tuple[int, ...] = (),
        *,
        timeout_s: float,
        checks: Iterable[tuple[int, Callable[[T], T]]],
    ) -> Iterator[T]:
        """The items of an answer as they come, each within `timeout_s`. Items hold no arrays.

        Args:
            checks: for each item that there has to be, how long it can be, and its check as in `ask`.

        A caller that stops early ends the worker. Raises as `ask`.
        """
        with self._exchange(request, files, timeout_s) as receive:
            for max_bytes, check in checks:
                what, payload = receive(max_bytes)
                if what != wire.ITEM:
                    raise wire.Broken("it gave less than it was asked for")
                yield check(wire.decode(payload, kind, max_bytes))
            what, _ = receive(wire.MAX_HEAD)
            if what != wire.DONE:
                raise wire.Broken("it gave more than it was asked for")

    def pour(self, request: Request, files: tuple[int, ...], *, timeout_s: float) -> Iterator[bytes]:
        """The items of an answer that is bytes, as many as come, each within `timeout_s`. Otherwise as `stream`."""
        with self._exchange(request, files, timeout_s) as receive:
            while (got := receive(wire.MAX_HEAD))[0] == wire.ITEM:
                yield wire.decode(got[1], bytes)
            if got[0] != wire.DONE:
                raise wire.Broken("it says what makes no sense")

    @contextlib.contextmanager
    def _exchange(
        self, request: Request, files: tuple[int, ...], timeout_s: float
    ) -> Iterator[Callable[[int], tuple[int, bytearray]]]:
        """Sends the request; gives what returns the next message up to that length, or raises what it refuses with.
        Unless all of the answer came, or a refusal, the worker is ended."""
        finished = False

        def receive(max_bytes: int) -> tuple[int, bytearray]:
            nonlocal finished
            what, payload, _ = self._channel.receive(timeout_s, max_bytes=max_bytes, files_too=False)
            if what == wire.FAILED:
                failure = wire.decode(payload, wire.Failure)
                finished = True
                raise _error(failure)
            return what, payload

        try:
            self._channel.send(wire.REQUEST, wire.encode(request), files, timeout_s)
            yield receive
            finished = True
        except wire.TimedOut as error:
            raise DecodeTimeout(f"no answer within {timeout_s:g} s; the process was ended") from error
        except wire.Broken as error:
            raise DecoderCrashed(f"the process that read the video ended or talked nonsense: {error}") from error
        finally:
            if not finished:
                self.kill()

    def kill(self) -> None:
        """End it at once; harmless when it has ended."""
        with self._lock:
            if self._process >= 0:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._process, signal.SIGKILL)
                os.close(self._process)
                self._process = -1
                self._channel.close()

    @property
    def alive(self) -> bool:
        """Whether it can be asked; false once it was ended."""
        return self._process >= 0


class Sandbox:
    """Makes workers. One for a process; may be used from several threads."""

    def __init__(
        self, limits: WorkerLimits = WORKER_LIMITS, *, required: bool = False, command: tuple[str, ...] = _ZYGOTE
    ) -> None:
        """
        Args:
            required: raise IsolationUnavailable on a machine where workers cannot be locked in.
            command: the program that workers come from; tests have others.
        """
        self.limits = limits
        self._command = command
        self.required = required
        self._lock = threading.Lock()
        self._folder: tempfile.TemporaryDirectory | None = None
        self._zygote: subprocess.Popen | None = None
        self._control: socket.socket | None = None
        self._isolation: Isolation | None = None
        self._awaited = False
        """Whether the zygote has yet to say that it is ready."""
        self._closed = False

    def start(self) -> None:
        """Start the process that workers come from, if there is none; returns at once, and `worker` waits for it.

        Raises:
            DecoderCrashed: it cannot be started, or the sandbox is closed.
        """
        with self._lock:
            if self._closed:
                raise DecoderCrashed("the sandbox is closed")
            if self._zygote is not None and self._zygote.poll() is None:
                return
            self._close()
            try:
                self._launch()
            except OSError as error:
                self._close()
                raise DecoderCrashed(f"the process that workers come from cannot be started: {error}") from error

    def _launch(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._folder = tempfile.TemporaryDirectory(prefix="automations-")
            self._zygote = subprocess.Popen(
                [*self._command, str(theirs.fileno()), str(self.limits.memory_bytes)],
                pass_fds=(theirs.fileno(),),
                cwd=self._folder.name,
                env=_ENVIRONMENT | {"TMPDIR": self._folder.name, "HOME": self._folder.name},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._awaited = True

    def worker(self) -> Worker:
        """A fresh worker.

        Raises:
            IsolationUnavailable: it cannot be locked in, and must be.
            DecoderCrashed: it did not start.
        """
        self.start()
        ours, theirs = socket.socketpair()
        try:
            with self._lock, theirs:
                if self._control is None:
                    raise wire.Broken("the sandbox is closed")
                if self._awaited:
                    self._control.settimeout(_START_S)
                    if self._control.recv(len(READY)) != READY:
                        raise wire.Broken("the process that workers come from did not start")
                    self._awaited = False
                socket.send_fds(self._control, [b"w"], [theirs.fileno()])
            worker = Worker(ours)
        except (OSError, wire.Broken) as error:
            ours.close()
            raise DecoderCrashed(f"a worker could not be started: {error}") from error
        self._isolation = held = worker.ready.isolation
        if self.required and not held.syscalls:
            worker.kill()
            raise IsolationUnavailable(f"videos cannot be read safely on this machine: {'; '.join(held.missing)}")
        return worker

    def isolation(self) -> Isolation:
        """Which layers hold here; starts a worker to find out."""
        if self._isolation is None:
            self.worker().kill()
        assert self._isolation is not None
        return self._isolation

    def close(self) -> None:
        """End everything, for good."""
        with self._lock:
            self._closed = True
            self._close()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _close(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._zygote is not None:
            try:
                self._zygote.wait(2.0)
            except subprocess.TimeoutExpired:
                self._zygote.kill()
                self._zygote.wait()
            self._zygote = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _error(failure: wire.Failure) -> Exception:
    kind = _BY_CODE.get(failure.code)
    if kind is None:
        return RuntimeError(f"in the process that reads videos: {one_line(failure.message)}")
    return kind(one_line(failure.message))


def _kinds(base: type[VideoError]) -> Iterator[type[VideoError]]:
    yield base
    for kind in base.__subclasses__():
        yield from _kinds(kind)


_BY_CODE: dict[str, Any] = {kind.code: kind for kind in _kinds(errors.VideoError)}
