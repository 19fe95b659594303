"""Where a cluster of this machine keeps what it needs, and what its processes are told. Imports nothing of Ray.

Ray's own processes ask each other for a token: who has it may run code here. So it is in a file that only its owner may
read, in the data folder, and neither in the environment, which children and crash reports show, nor in any output.
"""

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serving.errors import PlaceRefused
from serving.graph.keys import RAY, derived

#: Bytes of a path of Ray's folder, at most: its sockets lie 64 deeper, and the kernel takes 107 in all.
_LONGEST: Final = 43

#: Folders of former runs that stay, for their logs.
_KEPT: Final = 2

#: What would lead to another cluster, or switch off what is said here.
_NOT_OURS: Final = ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_API_SERVER_ADDRESS", "RAY_JOB_CONFIG_JSON_ENV_VAR")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The files of a cluster."""

    token: Path
    """What its processes know each other by."""
    temporary: Path
    """Sockets and logs of Ray."""
    address: Path
    """Holds where it is, `host:port`, while one runs."""

    def environment(self, around: Mapping[str, str]) -> dict[str, str]:
        """What its processes, and those that connect to it, are started with, on top of what is `around`."""
        return {name: value for name, value in around.items() if name not in _NOT_OURS} | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            "RAY_USAGE_STATS_ENABLED": "0",
            # Replicas are what the machine is there for: left alone, they give way to whatever else runs (nice 15).
            "RAY_worker_niceness": "0",
            # A replica whose start fails is started again and again; left alone, Serve gives up after three times.
            "RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT": "1000000",
            # Serve believes that its proxy is dead after three of these; left alone, they are ten seconds apart.
            "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
            # What replicas print is in logs of others.
            "RAY_COLOR_PREFIX": "0",
            "RAY_DEDUP_LOGS": "0",
            # Whatever its name says: nothing of Ray then listens anywhere but on loopback, for there will be no second
            # machine. Left alone, Ray listens on all addresses, even where it is given this one.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        }


def cluster(folder: Path, secret: bytes) -> Cluster:
    """Of the server whose data folder this is; what is missing is made.

    Args:
        secret: the server's, from which the token is made.

    Raises:
        PlaceRefused: others of the machine own the folder of its sockets or can get into it, or its path is too long.
    """
    own = around = folder / "graph"
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    if len(os.fsencode(own / "ray")) > _LONGEST:
        digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]
        around = Path(tempfile.gettempdir()) / f"automations-{os.getuid()}-{digest}"
        around.mkdir(mode=0o700, exist_ok=True)
    _require_ours(around)
    # Ray lets everybody into its folder; nobody else gets that far.
    temporary = around / "ray"
    if len(os.fsencode(temporary)) > _LONGEST:
        raise PlaceRefused(f"{around}: too long a path for sockets of Ray; set TMPDIR to a shorter one, such as /tmp")
    temporary.mkdir(exist_ok=True)
    token = own / "token"
    _write(token, derived(secret, RAY))
    return Cluster(token=token, temporary=temporary, address=own / "address")


def tidied(temporary: Path) -> None:
    """Remove the folders of former runs, but for the latest, whose logs may be wanted. None of them may be running."""
    former = sorted(temporary.glob("session_2*"), key=lambda place: place.name)
    for place in former[: max(0, len(former) - _KEPT)]:
        shutil.rmtree(place, ignore_errors=True)


def _write(file: Path, text: str) -> None:
    """For its owner alone, whole or not at all."""
    descriptor, made = tempfile.mkstemp(dir=file.parent, prefix=f"{file.name}-")
    with os.fdopen(descriptor, "w") as out:
        out.write(text)
    os.replace(made, file)


def _require_ours(place: Path) -> None:
    found = place.stat(follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PlaceRefused(f"{place}: sockets of Ray would be there, and others own it or get in; remove it")
