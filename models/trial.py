"""Models of others are tried out in a process of their own before they are let into this one.

Whatever their code does there (an exception, a hang, a crash, `os._exit`, answers that are none, all the memory of the
machine) ends that process at most, and is a `BadModel` with one clear line here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models import errors
from models.custom import entry_point
from models.descendants import Family
from models.errors import BadModel, ModelError

if TYPE_CHECKING:
    from models.device import Placement

START_S: Final = 180.0
"""Longest that the process may take before the model's own code begins, and to load torch, seconds: a busy machine does
so in 20."""

_LOOK_S: Final = 0.02
"""How often its memory is looked at, seconds: in that time little can be taken, for pages have to be written to."""

_LAST_WORDS: Final = 4096
"""Bytes of what it wrote to standard error that are kept."""

_MOST_FILES: Final = 2000
"""Files of a package that are looked at to see whether its code changed."""

_CODE: Final = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); import models.trial_child as c; c.main()"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model may take while it is tried out."""

    seconds: float = 60.0
    """Longest for each step: loading it, looking at its example, one check."""
    memory_gib: float = 4.0
    """Most memory of its own and of what it starts, GiB, besides what an interpreter with torch takes. Files that are
    mapped and memory of a GPU do not count. Watched where there is a /proc, as on Linux; elsewhere nothing is."""


LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Request:
    """What the process is to do. It travels as a pickle, to the process and not back."""

    task: str
    """`try`, or `check`: see `models.trial_child`."""
    name: str
    device: str
    dtype: str
    options: Mapping[str, Any]


Message = dict[str, Any]
"""A line that the process says: `step` (what it begins), `check` (a result), `done`, or `refused` and `code`; and
`apart`, null where it begins to load torch, and the bytes that it took once it has."""

_passed: set[tuple[Any, ...]] = set()
_trying = threading.Lock()


def require_sound(name: str, placement: Placement, options: Mapping[str, Any], limits: Limits = LIMITS) -> None:
    """Load a model of others in a process of its own, and have it look at its example there. Done once in this process
    for a name, its options and its code as it lies on disk; again where it failed.

    Args:
        name: `package.module:Class` or the name of an entry point.

    Raises:
        ModelError: what loading it raised there; BadModel where it was ended, ended itself, or gave no answer.
    """
    key = (name, placement.device, placement.dtype, _canonical(name, options), _code_version(name))
    # One at a time: two that are tried at once would each have half of the machine.
    with _trying:
        if key in _passed:
            return
        converse(Request("try", name, placement.device, placement.dtype, options), limits)
        _passed.add(key)


def converse(
    request: Request, limits: Limits = LIMITS, heard: Callable[[Message], None] = lambda message: None
) -> None:
    """Have a process do something with a model, and listen until it is done. It is ended in any case.

    Args:
        heard: is given the results of checks.

    Raises:
        ModelError: it was refused there, or as `require_sound`.
    """
    pickled = pickle.dumps(request)
    reading, writing = os.pipe()
    try:
        paths = json.dumps([str(path) for path in sys.path])
        child = subprocess.Popen(
            [sys.executable, "-c", _CODE, paths, str(writing), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(writing,),
            start_new_session=True,
        )
    except OSError as error:
        os.close(reading)
        raise ModelError(f"{request.name} cannot be tried out: no process can be started ({error})") from error
    finally:
        os.close(writing)
    family = Family(child.pid)
    try:
        _Trial(request.name, child, family, reading, limits, heard).listen(pickled)
    finally:
        family.end()
        child.wait()
        if child.stderr is not None:
            child.stderr.close()
        os.close(reading)


class _Trial:
    """Listens to one process, and looks at the clock and its memory."""

    def __init__(
        self,
        name: str,
        child: subprocess.Popen,
        family: Family,
        reading: int,
        limits: Limits,
        heard: Callable[[Message], None],
    ) -> None:
        self._name, self._child, self._family = name, child, family
        self._reading, self._limits, self._heard = reading, limits, heard
        self._step: str | None = None
        self._before: int | None = None
        self._loads_torch = False
        self._deadline = time.monotonic() + START_S
        self._last_words: deque[int] = deque(maxlen=_LAST_WORDS)

    def listen(self, pickled: bytes) -> None:
        """Until it is done. Raises as `converse`."""
        assert self._child.stdin is not None
        assert self._child.stderr is not None
        try:
            self._child.stdin.write(pickled)
            self._child.stdin.close()
        except BrokenPipeError:
            pass  # it ended; why, is told below
        errors_fd, partial = self._child.stderr.fileno(), b""
        with selectors.DefaultSelector() as ready:
            ready.register(self._reading, selectors.EVENT_READ)
            ready.register(errors_fd, selectors.EVENT_READ)
            while True:
                # Before what it said is read, so that the last of it is not missed.
                ended = self._child.poll() is not None
                for key, _ in ready.select(0 if ended else _LOOK_S):
                    said = os.read(key.fd, 1 << 16)
                    if not said:
                        ready.unregister(key.fd)
                    elif key.fd == errors_fd:
                        self._last_words.extend(said)
                    else:
                        *lines, partial = (partial + said).split(b"\n")
                        if any(self._take(json.loads(line)) for line in lines):
                            return  # whatever comes after the last word is not listened to
                        ended = False
                if ended:
                    raise self._fault(self._how_it_ended())
                self._look()

    def _take(self, message: Message) -> bool:
        """Whether that was the last. Raises ModelError where it was refused."""
        if "refused" in message:
            raise _error(message["code"], message["refused"])
        if "step" in message:
            if self._step is None:
                self._before = self._family.memory()
            self._step = message["step"]
        elif "apart" in message:
            self._loads_torch = message["apart"] is None
            if self._before is not None:
                self._before += message["apart"] or 0
        elif "done" not in message:
            self._heard(message)
        self._deadline = time.monotonic() + (START_S if self._loads_torch else self._limits.seconds)
        return "done" in message

    def _look(self) -> None:
        if time.monotonic() > self._deadline:
            if self._step is None:
                raise ModelError(f"{self._name} cannot be tried out: the process did not begin within {START_S:.0f} s")
            if self._loads_torch:
                raise ModelError(f"{self._name} cannot be tried out: torch was not loaded within {START_S:.0f} s")
            raise self._fault(f"gave no answer within {self._limits.seconds:g} s")
        if self._loads_torch:
            return
        now = self._family.memory()
        if now is not None and self._before is not None and now - self._before > self._limits.memory_gib * 2**30:
            raise self._fault(f"took more than {self._limits.memory_gib:g} GiB of memory")

    def _how_it_ended(self) -> str:
        code = self._child.returncode
        if code < 0:
            name = signal.Signals(-code).name if -code in list(signal.Signals) else f"signal {-code}"
            hint = ", as the system does where memory is short" if name == "SIGKILL" else ""
            return f"crashed the process that tried it out ({name}{hint})"
        return f"ended the process that tried it out (exit code {code})"

    def _fault(self, what: str) -> ModelError:
        words = bytes(self._last_words).decode(errors="replace").strip().splitlines()
        said = f"; it said last: {words[-1].strip()[:300]}" if words and self._child.returncode is not None else ""
        if self._step is None:
            return ModelError(f"{self._name} cannot be tried out: the process ended before it began{said}")
        return BadModel(f"{self._name} {what} while {self._step}{said}")


def _error(code: str, message: str) -> ModelError:
    kinds = {
        kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ModelError)
    }
    return kinds.get(code, ModelError)(message)


def _canonical(name: str, options: Mapping[str, Any]) -> bytes:
    try:
        return pickle.dumps(sorted(options.items()))
    except Exception as error:  # whatever cannot be pickled raises what it likes
        raise BadModel(f"{name}: its options have to be plain values, as a YAML has them ({error})") from error


def _code_version(name: str) -> tuple[Any, ...]:
    """Changes when a file of the package does. Imports nothing of it."""
    found = entry_point(name) if ":" not in name else None
    version = found.dist.version if found is not None and found.dist is not None else None
    top = (found.module if found is not None else name.partition(":")[0]).partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return (version,)
    files = [Path(spec.origin)] if spec.origin else []
    for folder in spec.submodule_search_locations or ():
        files += sorted(Path(folder).rglob("*.py"))[:_MOST_FILES]
    seen = [os.stat(file) for file in files if file.is_file()]
    return (version, spec.origin, tuple((one.st_mtime_ns, one.st_size) for one in seen))
