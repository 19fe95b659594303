"""Servers as their operators start them, and commands for them as their callers run them."""

import contextlib
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec

from serving.db import embedded
from serving.places import made_first_key, places
from serving.settings import DEFAULTS
from tests.serving.commands import ROOT, environment, here
from tests.serving.cutting import free_port

#: Options of the commands that start a server: tests of other things than the graph do without Ray.
COMMANDS = {"api": (), "serve": ("--engine", "local")}

_numbers = itertools.count()


@dataclass
class Serving:
    """A server that runs."""

    address: str
    key: str
    database_url: str

    def run(self, *args: object, **settings: object) -> subprocess.CompletedProcess[str]:
        """A command for it, in this process; `settings` go before where it is and who asks."""
        return here(*args, **(self.settings() | settings))

    def start(self, *args: object, **settings: object) -> "subprocess.Popen[str]":
        """As `run`, without waiting for its end."""
        command = [sys.executable, "-c", "from serving.cli import main; main()", *map(str, args)]
        env = environment(self.settings() | settings)
        return subprocess.Popen(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def settings(self) -> dict[str, object]:
        """Where it is and who asks, as variables."""
        return {"AUTOMATIONS_CLIENT__SERVER": self.address, "AUTOMATIONS_CLIENT__KEY": self.key}

    def get(self, path: str) -> dict:
        """What the API itself answers."""
        answer = httpx.get(self.address + path, headers={"Authorization": f"Bearer {self.key}"}, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextlib.contextmanager
def started(command: str, server: str, folder: Path, **more: object) -> Iterator[Serving]:
    """`automations serve` or `api`, with a database of its own in `server`, and a key that may do everything; `more`:
    variables besides."""
    name = f"client_{next(_numbers)}"
    url = embedded.named(server, name)
    embedded.copied(server, name)
    options = msgspec.structs.replace(DEFAULTS.server, data_dir=str(folder), database_url=url)
    with places(msgspec.structs.replace(DEFAULTS, server=options), migrated=False) as place:
        key = made_first_key(place)
    assert key is not None
    port = free_port()
    settings = {"DATABASE_URL": url, "DATA_DIR": folder, "PORT": port}
    env = environment({f"AUTOMATIONS_SERVER__{name}": value for name, value in settings.items()} | more)
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving.cli", command, *COMMANDS[command]],
            cwd=ROOT,
            env=env,
            stdout=out,
            stderr=out,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            with contextlib.suppress(httpx.TransportError):
                # Alone, the API takes jobs that somebody else will work on.
                part = "api" if command == "api" else "all"
                if httpx.get(f"{address}/readyz", params={"part": part}, trust_env=False).status_code == 200:
                    break
            time.sleep(0.1)
        yield Serving(address, key, url)
    finally:
        process.terminate()
        process.wait(timeout=30)
