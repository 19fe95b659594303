"""The process in which a model of others is tried out, see `models.trial`: what it does, and how it says so.

Its arguments are a path, the descriptor that it speaks into, and who started it. It reads its `Request` from standard
input and is ended, or ends with `os._exit`, for threads that the model left behind need not be waited for.
"""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from models.answers import require_rows
from models.base import FrameModel, Head
from models.custom import told
from models.descendants import own_memory
from models.errors import BadModel, ModelError

if TYPE_CHECKING:
    from models.catalog import Loaded
    from models.trial import Request

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h

_END_S = 10.0
"""How long it waits to be ended, seconds."""

LOADING, LOOKING = "it was loaded", "it looked at its example"

Tell = Callable[..., None]


def main() -> None:
    """Do what is asked. Never returns."""
    descriptor = int(sys.argv[2])
    os.set_inheritable(descriptor, False)
    _give_way(parent=int(sys.argv[3]))

    def tell(**message: Any) -> None:
        os.write(descriptor, json.dumps(message).encode() + b"\n")

    request: Request = pickle.load(sys.stdin.buffer)
    import models.catalog

    sys.meta_path.insert(0, _TorchApart(tell))
    try:
        tell(step=LOADING)
        loaded = models.catalog.load_any(request.name, request.device, request.dtype, request.options, limits=None)
        _TASKS[request.task](request, loaded, tell)
    except ModelError as error:
        tell(refused=str(error), code=error.code)
    except BaseException as error:  # noqa: BLE001 - it may try to end the process, too
        tell(refused=f"{request.name}: {told(error)}", code=BadModel.code)
    else:
        tell(done=True)
    # Whoever listens ends it, and first counts what it started: of one that ended nobody knows.
    time.sleep(_END_S)
    os._exit(0)


class _TorchApart(MetaPathFinder):
    """Says when torch begins to be loaded, by whatever wants it, and what that took: neither its time nor its memory
    are the model's. Most models of others need it, but not all, and it is most of what a trial takes."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See MetaPathFinder; finds nothing but torch."""
        spec = PathFinder.find_spec(fullname, path) if fullname == "torch" else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def told_of(module: ModuleType) -> None:
            before = own_memory(os.getpid()) or 0
            self._tell(apart=None)
            try:
                load(module)
            finally:
                self._tell(apart=(own_memory(os.getpid()) or 0) - before)

        spec.loader.exec_module = told_of
        return spec


def look(name: str, model: FrameModel | Head) -> None:
    """Have a model answer to its example; a head that has none is believed.

    Raises:
        BadModel: it does not, or with something else than what it says of itself.
    """
    example = getattr(model, "example", None)
    if example is None:
        return
    try:
        seen = example()
        require_rows(model.run(seen), len(seen), model.info)
        if hasattr(model, "preprocess"):
            frames = cast(FrameModel, model)
            require_rows(frames.encode(frames.preprocess(seen)), len(seen), model.info)
    except Exception as error:
        raise BadModel(f"{name} does not answer to its example as it should: {told(error)}") from error


def _try(request: Request, loaded: Loaded[Any], tell: Tell) -> None:
    tell(step=LOOKING)
    look(request.name, loaded.model)


def _check(request: Request, loaded: Loaded[Any], tell: Tell) -> None:
    from models.conformance import Result, Subject, run
    from models.conformance_checks import CHECKS

    tell(check=asdict(Result("loads", "passed", loaded.model.info.name, 0.0)))
    subject = Subject(loaded.model, partial(_made, request))
    for check in CHECKS:
        tell(step=f"it was checked: {check.demand}")
        tell(check=asdict(run(check, subject)))


def _made(request: Request, device: str | None = None) -> FrameModel | Head:
    """The model anew; also in another process, which is told by a pickle."""
    from models.catalog import load_any

    dtype = request.dtype if device in (None, request.device) else "float32"
    return load_any(request.name, device or request.device, dtype, request.options, limits=None).model


_TASKS: dict[str, Callable[[Request, Loaded[Any], Tell], None]] = {"try": _try, "check": _check}


def _give_way(parent: int) -> None:
    """Die with whoever started it, and first where memory is short."""
    with suppress(OSError, AttributeError):  # not on Linux: neither can be had
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # What a model starts stays a descendant of this process, also where what started it ended.
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        Path("/proc/self/oom_score_adj").write_text("1000")
    if os.getppid() != parent:
        os._exit(0)
