"""Several processes of the API over one database, as their operators start them."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.serving.api.conftest import SECRET
from tests.serving.commands import ROOT, environment
from tests.serving.cutting import free_port


@contextlib.contextmanager
def processes(url: str, folder: Path, count: int, **settings: object) -> Iterator[list[str]]:
    """Addresses of `count` processes. Keys that are made with `SECRET` are good there."""
    folder.mkdir(exist_ok=True)
    (folder / "secret").write_bytes(SECRET)
    (folder / "secret").chmod(0o600)
    addresses = []
    with contextlib.ExitStack() as stack:
        for number in range(count):
            port = free_port()
            own = {"SERVER__DATABASE_URL": url, "SERVER__DATA_DIR": folder, "SERVER__PORT": port}
            env = environment({f"AUTOMATIONS_{name}": value for name, value in (own | settings).items()})
            out = stack.enter_context((folder / f"log{number}").open("w"))
            command = [sys.executable, "-m", "serving.cli", "api"]
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out)
            stack.callback(process.wait, timeout=30)
            stack.callback(process.terminate)
            addresses.append(f"http://127.0.0.1:{port}")
        for number, address in enumerate(addresses):
            _wait_for(address, folder / f"log{number}")
        yield addresses


def _wait_for(address: str, log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{address}/readyz?part=api", trust_env=False).status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(log.read_text())
