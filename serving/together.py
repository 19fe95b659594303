"""`automations serve`: API, database and what works on jobs, each in the process that suits it, by one command.

The API is started first, and says what it waits for to whoever asks: a database that has to be made takes seconds.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec

from pipeline.sandbox.isolation import die_with_parent
from serving.errors import ServerError
from serving.handing import Telling
from serving.mending import Kept
from serving.places import MADE, STARTED, Places, made_first_key, places, there
from serving.settings import Settings

#: How often it is looked whether all are there, seconds.
_LOOK_S: Final = 0.5

#: How long each has for its end, seconds.
_END_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Works:
    """What works on jobs."""

    command: tuple[str, ...]
    """Of ours: `worker`, or `graph` and its options."""
    gateway: str | None = None
    """Where the graph's gateway will be; None: as it is set."""
    mended: bool = False
    """Whether it is started again when it ends; otherwise all ends with it."""


class Api:
    """The API's process: it ends with the block."""

    def __enter__(self) -> "Api":
        self.process = _started("serving.handed_api", stdin=subprocess.PIPE)
        assert self.process.stdin is not None
        self.telling = Telling(self.process.stdin)
        return self

    def __exit__(self, *_: object) -> None:
        _end(self.process)
        assert self.process.stdin is not None
        self.process.stdin.close()


def run_all(settings: Settings, works: Works, api: Api, greet: Callable[[Places, str | None], None]) -> int:
    """Run all until this process is told to end, or one of them ends that is not mended; the exit code.

    Args:
        api: was started before anything was known, so that it is there first.
        greet: tells where everything is, and the first key, where that was made just now.

    Raises:
        InvalidSettings, SecretRefused, DatabaseUnavailable, DatabaseMisconfigured, PlaceRefused, MasterKeyMissing: see
            `places`.
    """
    settings = _as_it_is_here(settings, works)
    ending = _Ending([api.process])

    def waits(what: str) -> None:
        api.telling.waits(what)
        # It is no loss to wait for a database no longer; one of our own is better stopped when it is there.
        ending.interrupts_after(1 if what in (MADE, STARTED) else 0)

    try:
        api.telling.settings(settings)
        with places(settings, waiting=True, keyed=True, waits=waits) as place:
            ending.interrupts_after(None)
            if ending.told.is_set() or api.process.poll() is not None:
                return ending.code(api.process.poll())
            greet(place, made_first_key(place))
            api.telling.there(place.database_url)
            return _run(settings, works, place, api.process, ending)
    except (KeyboardInterrupt, ServerError):
        # A terminal's Ctrl-C goes to what makes the database as well: that it failed is then no news.
        if not ending.told.is_set():
            raise
        return 0


def _as_it_is_here(settings: Settings, works: Works) -> Settings:
    """With what is known by now; what is missing of the data folder is made. Raises InvalidSettings, SecretRefused."""
    replace = msgspec.structs.replace
    folder = there(settings, settings.server.database_url).folder
    settings = replace(settings, server=replace(settings.server, data_dir=str(folder)))
    if works.gateway is None:
        return settings
    return replace(settings, graph=replace(settings.graph, url=works.gateway))


class _Ending:
    """What comes of the signals that tell this process to end. Those that were started by it are told at once."""

    def __init__(self, running: "list[subprocess.Popen[bytes]]") -> None:
        """`running`: those that were started."""
        self.told = threading.Event()
        self.running = running
        self._heard, self._patience = 0, None
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._hear)

    def interrupts_after(self, patience: int | None) -> None:
        """From now on, what is done is interrupted by the next signal after so many; None: by none. Raises
        KeyboardInterrupt where there were more already."""
        self._patience = patience
        self._look()

    def code(self, *ended: int | None) -> int:
        """This process's exit code, by those of others: one that was told to end may say so by the signal, and one that
        ended by itself did not do what it was there for, whatever it says."""
        return 0 if self.told.is_set() else max(1, *(abs(code or 0) for code in ended))

    def _hear(self, *_: object) -> None:
        self._heard += 1
        self.told.set()
        for child in self.running:
            _tell(child)
        self._look()

    def _look(self) -> None:
        if self._patience is not None and self._heard > self._patience:
            self._patience = None
            raise KeyboardInterrupt


def _run(settings: Settings, works: Works, place: Places, api: "subprocess.Popen[bytes]", ending: _Ending) -> int:
    """All, now that the database is there: until told to end, or one has ended for good, and both have then; the exit
    code."""
    from serving.readiness import GRAPH_PATIENCE_S, announce_ready

    patience_s = None if works.gateway is None else GRAPH_PATIENCE_S
    arguments = (_own_address(settings), ending.told, patience_s)
    threading.Thread(target=announce_ready, args=arguments, daemon=True).start()
    environment = os.environ | {
        "AUTOMATIONS_SERVER__DATABASE_URL": place.database_url,
        "AUTOMATIONS_SERVER__DATA_DIR": str(place.folder),
        "AUTOMATIONS_GRAPH__URL": settings.graph.url,
    }
    start = partial(_started, "serving.cli", *works.command, env=environment)
    working = Kept(start, works.command[0], mended=works.mended)
    code = None
    try:
        while not ending.told.is_set() and api.poll() is None and code is None:
            ending.running = [api, working.process]
            # An event would be waited for with a lock that the handler of a signal may want just then.
            with contextlib.suppress(subprocess.TimeoutExpired):
                api.wait(timeout=_LOOK_S)
            code = working.look()
        return ending.code(api.poll(), code)
    finally:
        ending.told.set()
        _tell(api)
        # While there is a database.
        for child in (working.process, api):
            _end(child)


def _started(*module: str, stdin: int | None = None, env: dict[str, str] | None = None) -> "subprocess.Popen[bytes]":
    """`module`: its name and arguments; the rest as `Popen` has it."""
    command = [sys.executable, "-m", *module]
    return subprocess.Popen(command, stdin=stdin, env=env, bufsize=0, preexec_fn=partial(_ours, os.getpid()))


def _ours(parent: int) -> None:
    """In a process that was just forked: whatever becomes of its parent, nothing of it stays. A terminal's Ctrl-C is
    the parent's to pass on, until it hears that itself."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _tell(child: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(signal.SIGTERM)


def _end(child: "subprocess.Popen[bytes]") -> None:
    _tell(child)
    try:
        child.wait(timeout=_END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _own_address(settings: Settings) -> str:
    """Where this machine reaches the API: a server that listens everywhere does so here, too."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.server.host, settings.server.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.server.port}"
