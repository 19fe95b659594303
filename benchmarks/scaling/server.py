"""`automations serve` with a Serve YAML, as a process of its own: what it prints, and which replicas it has."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

#: For its end, seconds; then it is killed.
_END_S = 30.0

#: What Ray adds to the name of a replica's process while it starts: what it runs just then.
_STARTING = (".__init__", ".initialize_and_get_metadata")


@dataclass(slots=True)
class Server:
    """One that runs."""

    process: "subprocess.Popen[bytes]"
    address: str
    log: Path

    def lines(self) -> list[str]:
        """What it printed."""
        return self.log.read_text(errors="replace").splitlines()

    def require_alive(self) -> None:
        """Raises RuntimeError where it has ended; says what it printed last."""
        if self.process.poll() is not None:
            raise RuntimeError("the server ended: " + "\n".join(self.lines()[-20:]))

    def replicas(self, deployment: str, *, starting: bool = False) -> int:
        """Processes of replicas of all deployments whose names begin like this, for Ray calls them after these.

        Args:
            starting: whether those count that are loading still.
        """
        with contextlib.suppress(psutil.NoSuchProcess):
            titles = [_title(child) for child in psutil.Process(self.process.pid).children(recursive=True)]
            ours = [title for title in titles if f"ServeReplica:automations:{deployment}" in title]
            return sum(starting or not title.endswith(_STARTING) for title in ours)
        return 0

    def starts_s(self) -> dict[str, float]:
        """`worker`, `engine` -> from `starts` to `is up`, by what was printed: `graph     worker is up (18.2 s)`."""
        seen: dict[str, dict[str, float]] = {}
        for line in self.lines():
            found = re.match(r"graph\s+(worker|engine)\S* (starts|is up)\b.*\(([\d.]+) s\)", line)
            if found:
                seen.setdefault(found[1], {}).setdefault(found[2], float(found[3]))
        return {kind: at["is up"] - at["starts"] for kind, at in seen.items() if len(at) == 2}


@contextlib.contextmanager
def serving(how: Sequence[str], folder: Path, database_url: str) -> Iterator[Server]:
    """One for as long as the block lasts, on free ports of this machine.

    Args:
        how: options of `automations serve`: `--config FILE`, `--engine local`.
        folder: its data, and what it prints.
    """
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUTOMATIONS_")} | {
        "AUTOMATIONS_SERVER__DATABASE_URL": database_url,
        "AUTOMATIONS_SERVER__DATA_DIR": str(folder / "data"),
        "AUTOMATIONS_SERVER__PORT": str(port),
        "PYTHONUNBUFFERED": "1",
    }
    command = (sys.executable, "-m", "serving.cli", "serve", *how)
    log = folder / "log"
    with log.open("wb") as out, subprocess.Popen(command, env=environment, stdout=out, stderr=out) as process:
        try:
            yield Server(process, f"http://127.0.0.1:{port}", log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=_END_S)
            except subprocess.TimeoutExpired:
                process.kill()


def free_port() -> int:
    """One that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _title(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error, IndexError):
        return process.cmdline()[0]
    return ""
