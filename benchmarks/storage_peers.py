"""Who serves a video in `benchmarks.storage`: the API with its objects sealed, with none sealed, and nginx."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks.processes import own_bytes
from benchmarks.scaling.server import free_port

SECRET: Final = b"benchmark".ljust(32, b".")

_NGINX: Final = """
daemon off;
worker_processes 1;
error_log stderr crit;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; root {folder}/files; }}
}}
"""


@dataclass(slots=True)
class Server:
    """One of them."""

    name: str
    port: int
    pid: int
    uploads: bool
    """Whether videos can be sent to it."""
    path: str
    """Where the video is."""

    def resident_mib(self) -> float:
        """Memory of it, and of all processes that it started, that is no file's, MiB."""
        root = psutil.Process(self.pid)
        return sum(own_bytes(one.pid) for one in (root, *root.children(recursive=True))) / 2**20


@asynccontextmanager
async def servers(url: str, folder: Path, content: bytes) -> AsyncIterator[tuple[list[Server], dict[str, str]]]:
    """All that can run here, and why others cannot."""
    missing = {}
    async with AsyncExitStack() as stack:
        there = [await stack.enter_async_context(api(url, folder / name, name)) for name in ("sealed", "plain")]
        if shutil.which("nginx"):
            there.append(await stack.enter_async_context(_nginx(folder, content)))
        else:
            missing["nginx"] = "not on the PATH (Debian: apt-get install nginx-light)"
        yield there, missing


@asynccontextmanager
async def api(url: str, folder: Path, name: str) -> AsyncIterator[Server]:
    """The API, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.storage_server", url, str(folder), SECRET.hex()]
    command += ["--plain"] if name == "plain" else []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        try:
            port = int(await asyncio.to_thread(server.stdout.readline))
            yield Server(name, port, server.pid, uploads=True, path="")
        finally:
            server.stdin.close()


@asynccontextmanager
async def _nginx(folder: Path, content: bytes) -> AsyncIterator[Server]:
    (folder / "files").mkdir()
    (folder / "files" / "video").write_bytes(content)
    port = free_port()
    config = folder / "nginx.conf"
    # Its worker reads the file as whoever started it.
    user = f"user {os.environ.get('USER', 'root')};\n" if os.geteuid() == 0 else ""
    config.write_text(user + _NGINX.format(folder=folder, port=port))
    with subprocess.Popen(["nginx", "-p", str(folder), "-c", str(config)]) as server:
        try:
            for _ in range(100):
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
            yield Server("nginx", port, server.pid, uploads=False, path="/video")
        finally:
            server.terminate()
