"""Graphs as their operators start them: with a port of their own, and all their processes known."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import yaml

from serving.graph import deploy_file
from serving.graph.cluster import Cluster, cluster
from tests.serving.commands import ROOT, environment
from tests.serving.cutting import free_port

T = TypeVar("T")


def until(found: Callable[[], T], within_s: float, what: str) -> T:
    """The first thing that is not nothing. `what` is waited for, for messages."""
    end = time.monotonic() + within_s
    while not (it := found()):
        assert time.monotonic() < end, f"{what}: not within {within_s:g} s"
        time.sleep(0.1)
    return it


def config(folder: Path, **engine: object) -> Path:
    """The YAML of a machine without a GPU, with the bundled model alone, on a port of its own; `engine`: what its
    `user_config` says instead."""
    deploy = deploy_file.load(deploy_file.path_of("cpu"))
    deploy["http_options"]["port"] = free_port()
    for one in deploy["applications"][0]["deployments"]:
        if one["name"] in ("engine-default", "text"):
            one["user_config"] = {**one["user_config"], "models": {"bundled": {}}}
        if one["name"] == "engine-default":
            one["user_config"] |= engine
    path = folder / "graph.yaml"
    path.write_text(yaml.safe_dump(deploy))
    return path


@dataclass
class Started:
    """A command that runs."""

    process: "subprocess.Popen[str]"
    log: Path
    folder: Path
    """Of its data."""
    sessions: set[int] = field(default_factory=set)
    """Ids of those that were seen so far."""

    def said(self) -> str:
        """What it has printed so far."""
        return self.log.read_text()

    def says(self, text: str, within_s: float, times: int = 1) -> str:
        """Wait until it has printed this so many times; all that it has printed."""

        def found() -> str:
            assert self.process.poll() is None or self.said().count(text) >= times, self.said()
            return self.said() if self.said().count(text) >= times else ""

        try:
            return until(found, within_s, f"{text!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()}") from None

    def processes(self) -> dict[int, str]:
        """All that were started by it, or by those: process id -> command line. They have its environment, or are in a
        session with one that has: some write over theirs, and those that read videos have none."""
        mark = f"AUTOMATIONS_SERVER__DATA_DIR={self.folder}\0".encode()
        lines: dict[int, str] = {}
        sessions: dict[int, int] = {}
        for place in Path("/proc").glob("[0-9]*"):
            try:
                line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                if not line:
                    # It has ended, or is the kernel's.
                    continue
                pid = int(place.name)
                lines[pid] = line
                sessions[pid] = int((place / "stat").read_bytes().rpartition(b")")[2].split()[3])
                if mark in (place / "environ").read_bytes() + b"\0":
                    self.sessions.add(sessions[pid])
            except OSError:
                # It has ended.
                continue
        return {pid: lines[pid] for pid, session in sessions.items() if session in self.sessions}

    def named(self, *parts: str) -> list[int]:
        """Ids of those whose command line has all of these."""
        return [pid for pid, line in self.processes().items() if all(part in line for part in parts)]

    def ended(self, number: signal.Signals, within_s: float) -> int:
        """Send it a signal; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(within_s)

    def nothing_left(self, within_s: float) -> None:
        """Wait until none of its processes is there."""
        try:
            until(lambda: not self.processes(), within_s, "all processes end")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.processes()}") from None

    def kill(self) -> None:
        """End what a test that failed has left."""
        for _ in range(3):
            for pid in (*self.processes(), self.process.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.2)
        self.process.wait(10)
        if (self.folder / "secret").exists():
            # Where the folder is too deep for sockets.
            shutil.rmtree(self.cluster().temporary.parent, ignore_errors=True)

    def cluster(self) -> Cluster:
        """The files of its cluster."""
        return cluster(self.folder, (self.folder / "secret").read_bytes())


def start(folder: Path, *arguments: object, **settings: object) -> Started:
    """`automations` with these arguments and settings, and a data folder below `folder`."""
    data, log = folder / "data", folder / "log"
    data.mkdir(exist_ok=True)
    env = environment({"AUTOMATIONS_SERVER__DATA_DIR": data} | settings) | {"PYTHONUNBUFFERED": "1"}
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving.cli", *map(str, arguments)],
            cwd=ROOT,
            env=env,
            text=True,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            # As a terminal has it: its signals go to all of a group.
            start_new_session=True,
        )
    return Started(process, log, data)
