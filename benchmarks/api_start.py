"""How long does a server take from its start to its first answers? Part of `benchmarks api`."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import httpx

from benchmarks.scaling.server import free_port

#: Whether it lives, which is answered at once; and what needs the database, which is held until that is there.
PATHS = ("/livez", "/v1/jobs")

#: Starts of each; medians of them.
TIMES = 5


def starts(url: str, folder: Path) -> dict[str, dict[str, float]]:
    """What is started -> path -> seconds to the first answer to it.

    Args:
        url: of a database that is migrated.
        folder: of data, where `automations api` finds everything made. `automations serve` has new ones, below it.
    """
    return {
        "api": _medians([_answered(("api",), folder, url) for _ in range(TIMES)]),
        "serve_new_folder": _medians([_in_new_folder(folder) for _ in range(TIMES)]),
    }


def _in_new_folder(around: Path) -> dict[str, float]:
    """Of `automations serve`, which makes its database first: seconds by path."""
    with tempfile.TemporaryDirectory(dir=around) as folder:
        return _answered(("serve", "--engine", "local"), Path(folder), "")


def _answered(command: tuple[str, ...], folder: Path, url: str) -> dict[str, float]:
    """Seconds by path, one asked after the other."""
    port = free_port()
    began = time.perf_counter()
    took = {}
    with _running(command, folder, url, port) as process:
        for path in PATHS:
            while True:
                if process.poll() is not None:
                    raise RuntimeError(f"{command} ended with exit code {process.returncode}")
                try:
                    answer = httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=60)
                except httpx.TransportError:
                    time.sleep(0.01)  # not there yet
                    continue
                # One that was held for too long is told to come again.
                if answer.status_code != 503:
                    took[path] = time.perf_counter() - began
                    break
    return took


@contextlib.contextmanager
def _running(command: tuple[str, ...], folder: Path, url: str, port: int) -> "Iterator[subprocess.Popen[bytes]]":
    own = {"DATABASE_URL": url, "DATA_DIR": str(folder), "PORT": str(port)}
    environment = os.environ | {f"AUTOMATIONS_SERVER__{name}": value for name, value in own.items()}
    with subprocess.Popen((sys.executable, "-m", "serving.cli", *command), env=environment) as process:
        try:
            yield process
        finally:
            process.terminate()


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {path: round(median(run[path] for run in runs), 3) for path in PATHS}
