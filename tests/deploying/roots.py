"""Root folders that commands run in as in a container: layers, namespaces, no network where none is wanted.

Needs root and Linux. Each command has namespaces of its own for mounts and processes, so that nothing stays mounted or
running, whatever happens to it.
"""

import os
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

#: What a container is given, whatever its image says.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Root:
    """Folders over one another; the last one is written to."""

    layers: tuple[Path, ...]

    def above(self, folder: Path) -> "Root":
        """One more layer, empty at first."""
        folder.mkdir(parents=True)
        return Root((*self.layers, folder))

    def mounted(self, at: str, *, writable: bool = True) -> list[str]:
        """Lines of shell that mount it at a folder."""
        if len(self.layers) == 1:
            return [f"mount --bind {self.layers[0]} {at}"]
        lower = self.layers[:-1] if writable else self.layers
        options = f"lowerdir={':'.join(str(layer) for layer in reversed(lower))}"
        if writable:
            work = self.layers[-1].with_name(self.layers[-1].name + ".work")
            work.mkdir(exist_ok=True)
            options += f",upperdir={self.layers[-1]},workdir={work}"
        return [f"mount -t overlay overlay -o {shlex.quote(options)} {at}"]


@dataclass(frozen=True)
class Running:
    """How a command runs in a root."""

    env: Mapping[str, str] = field(default_factory=dict)
    user: str = "0:0"
    """uid:gid"""
    folder: str = "/"
    binds: Mapping[str, Path] = field(default_factory=dict)
    """Path in the root -> what is laid over it."""
    scratch: Sequence[str] = ()
    """Paths in the root that are empty folders in memory, writable for everybody."""
    locked: bool = False
    """As a careful container: the root cannot be written to, no capability, no new privileges, no network."""


def run(root: Root, command: str, how: Running, *, out: Path | None = None, timeout_s: float = 3600) -> str:
    """Run a line of shell; what it printed, which also goes to `out` as it comes.

    Raises:
        Failed: it ended with something else than 0, or not in time.
    """
    argv = ["chroot", "$M", "/usr/bin/env", "-i", *(shlex.quote(f"{k}={v}") for k, v in _environment(how).items())]
    argv += ["HOME=$(chroot $M getent passwd " + how.user.partition(":")[0] + " | cut -d: -f6)"]
    uid, _, gid = how.user.partition(":")
    if how.user != "0:0":
        argv += ["/usr/bin/setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
        if how.locked:
            argv += ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    argv += ["/bin/sh", "-c", shlex.quote(f"cd {shlex.quote(how.folder)} && {command}")]
    with _mount_point() as point:
        lines = [
            "set -e",
            f"M={point}",
            *root.mounted("$M", writable=not how.locked),
            *_furnished(how),
            *(["ip link set lo up"] if how.locked else []),
            "exec " + " ".join(argv),
        ]
        return _namespaced("\n".join(lines), network=not how.locked, out=out, timeout_s=timeout_s)


def copied(source: Root, path: str, target: Root, to: str) -> None:
    """Copy a file, or what is in a folder, from one root into another; it belongs to root there."""
    with _mount_point() as a, _mount_point() as b:
        lines = [
            "set -e",
            *source.mounted(str(a), writable=False),
            *target.mounted(str(b)),
            *copying(f"{a}{path}", f"{b}{to}"),
        ]
        _namespaced("\n".join(lines), network=False, out=None, timeout_s=3600)


def given(source: Path, target: Root, to: str) -> None:
    """Copy a file, or what is in a folder of this machine, into a root."""
    with _mount_point() as point:
        lines = ["set -e", *target.mounted(str(point)), *copying(str(source), f"{point}{to}")]
        _namespaced("\n".join(lines), network=False, out=None, timeout_s=3600)


def copying(source: str, to: str) -> list[str]:
    """As COPY does it: what is in a folder goes into the target; a file becomes the target, or goes into `to/`."""
    source, to = shlex.quote(source), shlex.quote(to)
    folder = f"mkdir -p {to} && cp -a --no-preserve=ownership {source}/. {to}"
    file = f"mkdir -p $(dirname {to}x) && cp -a --no-preserve=ownership {source} {to}"
    return [f"if [ -d {source} ]; then {folder}; else {file}; fi"]


class Failed(Exception):
    """A command in a root ended otherwise than it should have; the message has the end of what it said."""


def _environment(how: Running) -> dict[str, str]:
    return {"PATH": _PATH, "TERM": "dumb", **how.env}


def _furnished(how: Running) -> list[str]:
    """What a container is given: devices, processes, names of servers, scratch space, volumes."""
    lines = [
        "mount -t proc proc $M/proc",
        "mount -t tmpfs -o mode=755 tmpfs $M/dev",
        "mkdir -p -m 1777 $M/dev/shm && mount -t tmpfs -o mode=1777 tmpfs $M/dev/shm",
        *(f"touch $M/dev/{name} && mount --bind /dev/{name} $M/dev/{name}" for name in _DEVICES),
        "ln -s /proc/self/fd $M/dev/fd",
        "mount --bind /etc/resolv.conf $M/etc/resolv.conf",
    ]
    lines += [f"mount -t tmpfs -o mode=1777 tmpfs $M{path}" for path in how.scratch]
    for path, what in how.binds.items():
        made = f"mkdir -p $M{path}" if what.is_dir() else f"mkdir -p $M{os.path.dirname(path)} && touch $M{path}"
        lines.append(f"{made} && mount --bind {what} $M{path}")
    return lines


@contextmanager
def _mount_point() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="root-") as folder:
        yield Path(folder)


def _namespaced(script: str, *, network: bool, out: Path | None, timeout_s: float) -> str:
    argv = ["unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "--propagation", "private"]
    argv += [] if network else ["--net"]
    said: list[str] = []
    with (
        open(out or os.devnull, "a", encoding="utf-8") as log,
        subprocess.Popen(
            [*argv, "sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as child,
    ):
        # Whatever runs in the namespaces ends with it.
        watch = threading.Timer(timeout_s, child.kill)
        watch.start()
        try:
            assert child.stdout is not None
            for line in child.stdout:
                said.append(line.decode(errors="replace"))
                log.write(said[-1])
                log.flush()
            code = child.wait()
        finally:
            watch.cancel()
            child.kill()
    if code:
        raise Failed(f"exit code {code} of\n{script}\n...{''.join(said[-40:])}")
    return "".join(said)
