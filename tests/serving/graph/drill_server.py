"""The server of `drill`: `automations serve` with its graph, a film in it, and which of its processes is which."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import httpx
import msgspec
import psutil
import yaml

from pipeline.synthesis import Encoding, write_video
from serving.db import embedded, migrate
from serving.places import made_first_key, places
from serving.settings import DEFAULTS
from tests.formats.chart import moments
from tests.serving.commands import automations
from tests.serving.cutting import free_port
from tests.serving.graph.launching import Started, start, until
from tests.serving.graph.launching import config as written

#: How long a worker may be silent before its jobs are another's, seconds; 30 if nothing is said.
LEASE_S: Final = 10.0

#: How often Serve looks whether a replica is well, seconds: so soon it sees that one is dead.
PERIOD_S: Final = 2.0

#: How long the API, and then the graph, may take to be there, seconds, on a machine that has other things to do.
_API_S, _GRAPH_S = 120.0, 300.0

#: For the end: the server's own, and what is left of its processes after that, seconds.
_END_S, _LEFT_S = 60.0, 20.0

#: The bundled model, with its own arithmetic.
_AS_IT_IS: Final[Mapping[str, str]] = MappingProxyType({})

_REPLICA: Final = "ray::ServeReplica:automations:"

#: What Ray adds to the name of a replica's process while it starts: what it runs just then.
_STARTING: Final = (".__init__", ".initialize_and_get_metadata")


def _is_replica(line: str, deployment: str) -> bool:
    """One that has started, of a deployment whose name begins like this."""
    return line.startswith(f"{_REPLICA}{deployment}") and not line.strip().endswith(_STARTING)


#: What can be killed -> whether a process of the server's is it, by its name and command line. `decoder` is apart.
_TITLES: Final[dict[str, Callable[[str, str], bool]]] = {
    "engine": lambda name, line: _is_replica(line, "engine-"),
    "worker": lambda name, line: _is_replica(line, "worker"),
    "controller": lambda name, line: line.startswith("ray::ServeController"),
    "proxy": lambda name, line: line.startswith("ray::ProxyActor"),
    "gcs_server": lambda name, line: name == "gcs_server",
    "raylet": lambda name, line: name == "raylet",
    "graph.head": lambda name, line: "serving.graph.head" in line,
}


@dataclass(slots=True)
class Server:
    """One that runs, and whom its client is."""

    started: Started
    address: str
    key: str
    database_url: str
    config: Path
    """The Serve YAML that it was started with."""

    def client(self) -> httpx.AsyncClient:
        """Speaks to its API."""
        return httpx.AsyncClient(
            base_url=self.address, headers={"Authorization": f"Bearer {self.key}"}, trust_env=False, timeout=20
        )

    def command(self, *arguments: object) -> "subprocess.CompletedProcess[str]":
        """Run `automations` with these arguments, for this server, on a wide screen."""
        return automations(
            *arguments,
            AUTOMATIONS_SERVER__DATA_DIR=self.started.folder,
            AUTOMATIONS_CLIENT__SERVER=self.address,
            AUTOMATIONS_CLIENT__KEY=self.key,
            COLUMNS=400,
        )

    def find(self, what: str) -> list[int]:
        """Process ids of its descendants that are `what`: a key of `_TITLES`, or `decoder`: a process of an engine's
        that decodes."""
        if what == "decoder":
            return [
                process.pid
                for engine in self.find("engine")
                for process in _children(engine)
                # Its own child is what these come from.
                if _parent(process) not in (engine, None)
            ]
        return [process.pid for process in _children(self.started.process.pid) if _is(process, _TITLES[what])]

    def require_alive(self) -> None:
        """Raises AssertionError where the server has ended; says what it printed last."""
        assert self.started.process.poll() is None, f"the server ended: {self.last_words()}"

    def last_words(self, lines: int = 25) -> str:
        """What it printed last."""
        return "\n".join(self.started.said().splitlines()[-lines:])

    def end(self) -> list[str]:
        """Tell it to end; what is not as it has to be then, in words."""
        code = self.started.ended(signal.SIGTERM, _END_S)
        wrong = [] if code == 0 else [f"the server ended with {code}: {self.last_words()}"]
        try:
            self.started.nothing_left(_LEFT_S)
        except AssertionError as error:
            wrong.append(str(error))
        return wrong


@contextlib.contextmanager
def serving(
    folder: Path, engines: int = 1, period_s: float = PERIOD_S, model: Mapping[str, str] = _AS_IT_IS
) -> Iterator[Server]:
    """One whose API takes jobs, over a PostgreSQL that outlives it; both for as long as the block lasts.

    Args:
        engines: how many replicas the engine has.
        period_s: how often Serve looks whether a replica is well, seconds; 0: as often as the package's YAML says.
        model: see `put_model`.
    """
    with embedded.embedded(folder / "postgres") as url:
        migrate.upgrade(url)
        (folder / "server").mkdir()
        options = msgspec.structs.replace(DEFAULTS.server, data_dir=str(folder / "server" / "data"), database_url=url)
        with places(msgspec.structs.replace(DEFAULTS, server=options), migrated=False) as place:
            key = made_first_key(place) or ""
        port = free_port()
        config = _config(folder, engines, period_s)
        put_model(config, model)
        started = start(
            folder / "server",
            "serve",
            "--config",
            config,
            AUTOMATIONS_SERVER__PORT=port,
            AUTOMATIONS_SERVER__DATABASE_URL=url,
            AUTOMATIONS_JOBS__LEASE_S=LEASE_S,
            # Who asks forty times a second is no stranger here.
            AUTOMATIONS_LIMITS__REQUESTS_PER_S=0,
        )
        try:
            server = Server(started, f"http://127.0.0.1:{port}", key, url, config)
            until(lambda: _answers(server, "/readyz?part=api"), _API_S, "the API takes jobs")
            yield server
        finally:
            started.kill()


def ready(server: Server) -> None:
    """Wait until jobs are worked on."""
    until(lambda: _answers(server, "/readyz"), _GRAPH_S, "the graph is ready")


def film(folder: Path, number: int, pictures: int = 250) -> Path:
    """Half a minute and a bit more, another length for each number, in groups of two seconds: many Clips.

    Args:
        pictures: of number 0, of which there are 8 a second.
    """
    return write_video(folder / f"film{number}.mp4", moments(pictures + number), fps=8, encoding=Encoding(gop=16))


def put_model(config: Path, model: Mapping[str, str]) -> None:
    """Have a Serve YAML say what answers to the name `bundled`: the fields of a `serving.graph.args.ModelConfig`."""
    deploy = yaml.safe_load(config.read_text())
    for one in deploy["applications"][0]["deployments"]:
        if one["name"] == "text" or one["name"].startswith("engine-"):
            one["user_config"]["models"] = {"bundled": dict(model)}
    config.write_text(yaml.safe_dump(deploy))


def _config(folder: Path, engines: int, period_s: float) -> Path:
    """The package's YAML for one machine, looked at more often, with a fixed number of replicas."""
    path = written(folder)
    deploy = yaml.safe_load(path.read_text())
    for one in deploy["applications"][0]["deployments"]:
        if period_s:
            one |= {"health_check_period_s": period_s, "health_check_timeout_s": 90}
        if one["name"] == "worker":
            del one["autoscaling_config"]
            one["num_replicas"] = 1
        elif one["name"].startswith("engine-"):
            one["num_replicas"] = engines
            one["ray_actor_options"]["num_cpus"] = 0.5 / engines
    path.write_text(yaml.safe_dump(deploy))
    return path


def _answers(server: Server, path: str) -> bool:
    server.require_alive()
    try:
        return httpx.get(f"{server.address}{path}", trust_env=False, timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def _children(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _parent(process: psutil.Process) -> int | None:
    with contextlib.suppress(psutil.Error):
        return process.ppid()
    return None


def _is(process: psutil.Process, what: Callable[[str, str], bool]) -> bool:
    # It may have ended meanwhile.
    with contextlib.suppress(psutil.Error):
        return process.status() != psutil.STATUS_ZOMBIE and what(process.name(), " ".join(process.cmdline()))
    return False


def kill(pid: int) -> bool:
    """`kill -9`; whether it was there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
